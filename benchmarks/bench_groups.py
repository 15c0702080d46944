"""How states are distributed, with true poses: how many normals unseen images bear out, and which separate groups they form.

    python benchmarks/bench_groups.py H3          python benchmarks/bench_groups.py H1 H2 assembly --zdim 8 --maps

Components are learned from half set 1. First table: log likelihood per image that twice as many normals, learned from half set 1,
bring to half set 2. Second table: of as many as a run would take, the shallowest valley between groups and the deepest one within a
group (the least of those by which its normals hang together), which VALLEY must lie between; shares of groups, their adjusted Rand
index with the true states; and how far latents lie from the mean of their true state, squared, as under the standard normal = 1.
With `--maps` a third: whole jobs of `train` on the true poses, by `cryodrake evaluate`: under one normal, under the mixture, and
with components learned anew from states under it, as a run does.
"""

import argparse
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import datasets
import machine
import numpy as np
import torch
from bench_components import Known, learned
from sklearn.metrics import adjusted_rand_score
from tables import table, write_json
from torch import Tensor

from cryodrake.analysis.evaluate import EvaluateConfig, evaluate
from cryodrake.app.runner import run_job
from cryodrake.inference import state_mixture
from cryodrake.inference.state_groups import groups_of, likeliest_groups, valleys
from cryodrake.inference.state_mixture import Evidence, GaussianMixture, fit, learn, under
from cryodrake.inference.states_about_poses import infer_about_poses
from cryodrake.physics.slices import raster
from cryodrake.training import conformations, given
from cryodrake.training.config import TrainConfig

OUT = Path(__file__).parent / "out"
TRIED = (2, 4, 8, 16)
MEASURED = (
    "image_auc_mean", "static_auc_mean", "image_auc_moving_mean", "static_auc_moving_mean", "coordinate_r2", "kmeans_ari",
    "gmm_ari", "groups_ari", "neighbour_share",
)  # fmt: skip
HEADER = ("states under", "AUC", "static", "moving", "static", "R2", "ARI k-means", "of a mixture", "of groups", "neighbours")


def steps(valley: Tensor) -> list[float]:
    """The valleys at which normals join, one after the other, from the shallowest."""
    k = len(valley)
    label, found = list(range(k)), []
    pairs = [(float(valley[a, b]), a, b) for a in range(k) for b in range(a)]
    for value, one, other in sorted(pairs, reverse=True):
        if label[one] != label[other]:
            label = [label[other] if own == label[one] else own for own in label]
            found.append(value)
    return found


def scatter(latents: Tensor, state: Tensor) -> float:
    """Mean squared distance from the mean of the state, as a share of the variance of all."""
    centre = torch.stack([latents[state == s].mean(0) for s in range(int(state.max()) + 1)])
    return float((latents - centre[state]).square().sum() / (latents - latents.mean(0)).square().sum())


def maps(data: Path, zdim: int) -> list[list[Any]]:
    """What `train` on the true poses reaches, under one normal and under the mixture, and with components learned anew there."""
    rows = []
    for how, learned_, more_steps in (
        ("one normal", lambda states, half, seed: GaussianMixture.standard(zdim, half.device), 0),
        ("mixture", learn, 0),
        ("mixture, components anew", learn, conformations.MIXED_STEPS),
    ):
        patches = patch.object(state_mixture, "learn", learned_), patch.object(conformations, "MIXED_STEPS", more_steps)
        with TemporaryDirectory() as folder, patches[0], patches[1]:
            config = TrainConfig(particles=data / "truth" / "particles.star", datadir=data, out=Path(folder) / "job", zdim=zdim)
            job = run_job(config, "train", given.run)
            found = evaluate(EvaluateConfig(job=job.path, truth=data)).states
        rows.append([how, *(getattr(found, name) for name in MEASURED)])
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="*", default=["H3"], help="names of datasets.py; without any H3, which needs no file")
    parser.add_argument("--zdim", type=int, default=4)
    parser.add_argument("--maps", action="store_true", help="also the maps of whole jobs; minutes a set")
    parser.add_argument("--data", type=Path, default=OUT / "data", help="cache of datasets.py")
    parser.add_argument("--shared", type=Path, default=Path("../shared"), help="folder that holds data/maps and data/models")
    parser.add_argument("--out", type=Path, help="JSON")
    options = parser.parse_args()
    found = machine.describe()
    print(machine.words(found))
    results = []
    for name in options.sets:
        data = datasets.make(name, options.data, options.shared)
        known = Known(data, None)
        model = learned(known, options.zdim)
        model.localise()
        everyone, state = torch.arange(known.store.n), torch.from_numpy(known.state)
        states = infer_about_poses(
            known.images, everyone, known.rotation, known.shift_px, raster(model.volumes, model.grid), model.grid
        )
        first, second = (Evidence.of(states[torch.nonzero(known.half == h).squeeze(1)]) for h in (1, 2))
        before, gains = GaussianMixture.standard(options.zdim, states.mean.device).log_likelihood(second), []
        for k in TRIED:
            likely = fit(first, k, 0).log_likelihood(second)
            gain = likely - before
            gains.append([k, float(gain.mean()), float(gain.std()) / len(gain) ** 0.5])
            before = likely
        began = time.perf_counter()
        mixture = learn(states, known.half, 0)
        after, chance = under(mixture, states)
        seconds = time.perf_counter() - began
        label = likeliest_groups(groups_of(mixture), chance)
        joins, n_groups = steps(valleys(mixture)), int(label.max()) + 1
        within = joins[: len(joins) - n_groups + 1]
        result = {
            "set": name,
            "normals": len(mixture.share),
            "groups": n_groups,
            "deepest within": min(within, default=None),
            "shallowest between": max(joins[len(within) :], default=None),
            "ARI": adjusted_rand_score(known.state, label.numpy()),
            "scatter": scatter(after.mean, state) / scatter(states.mean, state),
            "s": seconds,
            "shares": " ".join(f"{share:.3f}" for share in (torch.bincount(label) / len(label)).tolist()),
            "true shares": " ".join(f"{share:.3f}" for share in sorted(np.bincount(known.state) / known.store.n, reverse=True)),
        }
        results.append(result | {"gains": gains, "maps": maps(data, options.zdim) if options.maps else []})
        print(f"\n{name}, {known.store.n} images")
        print(table(["normals", "gain", "error"], gains))
        print(table(list(result), [list(result.values())]))
        if options.maps:
            print(table(HEADER, results[-1]["maps"]), flush=True)
    write_json(options.out, {"machine": found, "results": results})


if __name__ == "__main__":
    main()
