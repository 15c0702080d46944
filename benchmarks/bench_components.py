"""What images of known poses tell of their states: of the states' true maps, and of components learned from half of the images.

    python benchmarks/bench_components.py H1 H2 H3 H4          python benchmarks/bench_components.py H2 --states 0 1 2

Poses are the true ones, so nothing else stands between the images and their states, except in the last table:

    told apart     adjusted Rand index and share of right answers of the likeliest true map, given each state's share: the most that
                   any method can reach on the set
    components     learned from half set 1, free and then where they stand out from noise (`training.joint_filter`), more and less
                   sharply; of half set 2 the log likelihood per image that states bring, its standard error, and R² of the true
                   states in the inferred latents
    poses off      the same R², components free, where every pose is turned at random by so many degrees: latents where the pose is
                   believed, and where it is integrated out about what is given
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from unittest.mock import patch

import datasets
import machine
import numpy as np
import torch
from sklearn.metrics import adjusted_rand_score
from tables import table
from torch import Tensor

from cryodrake.data.coefficients import CoefficientStore
from cryodrake.data.halves import half_sets
from cryodrake.inference.likelihood import shift_phases
from cryodrake.inference.reference import Reference
from cryodrake.inference.states import States, component_columns, infer_states
from cryodrake.inference.states_about_poses import infer_about_poses
from cryodrake.io.mrc import read_map
from cryodrake.io.particles import read_particles
from cryodrake.physics.rotations import axis_angle_to_matrix
from cryodrake.physics.slices import raster, slice_ball
from cryodrake.training import subspace
from cryodrake.training.conformations import RADIUS, Conformations
from cryodrake.training.events import QuietReporter
from cryodrake.training.images import WeightedImages
from cryodrake.training.loading import MASK_RADIUS
from cryodrake.training.refinement import half_maps
from cryodrake.training.solvent import flatten_solvent
from cryodrake.training.state import RunState
from cryodrake.training.subspace import SubspaceFit

OUT = Path(__file__).parent / "out"
SHARPNESSES = (subspace.SHARPNESS, 4.0, 16.0)
OFF_DEG = (0.0, 3.0, 6.0)
BLOCK = 100


class Known:
    """A set with its true poses and states, or the images of some of its states."""

    def __init__(self, data: Path, states: list[int] | None):
        store = CoefficientStore.build(read_particles(data / "particles.star"))
        table_ = read_particles(data / "truth" / "particles.star", datadir=data).table
        state = np.load(data / "truth" / "state.npy")
        rows = torch.from_numpy(np.flatnonzero(np.isin(state, np.unique(state) if states is None else states)))
        self.numbers, self.state = np.unique(state[rows.numpy()], return_inverse=True)
        self.store = store.select(rows)
        self.rotation = torch.from_numpy(table_.rotations).float()[rows]
        self.shift_px = torch.from_numpy(table_.shifts_A).float()[rows] / store.pixel_size_A
        self.half = half_sets(table_, 0)[rows]
        self.images = WeightedImages(self.store, store.noise, torch.ones(len(rows)))
        volumes = data / "truth" / "volumes"
        self.maps = [torch.from_numpy(read_map(volumes / f"state_{i:03d}.mrc")[0]) for i in self.numbers]


def told_apart(known: Known, radius: float, maps: Sequence[Tensor], rows: Tensor) -> list[Any]:
    """These images, by a map of each state, at the one scale that fits all of them best."""
    store, references = known.store, [Reference.build(volume, radius) for volume in maps]
    k = store.disc.count(radius)
    kxy, n = store.disc.kxy[:k], len(rows)
    cross, power = torch.zeros(n, len(references)), torch.zeros(n, len(references))
    for of_block in torch.arange(n).split(BLOCK):
        block = rows[of_block]
        matched, weight = known.images.matched(block, k)
        centred = matched * shift_phases(known.shift_px[block], kxy, store.box)
        for i, reference in enumerate(references):
            slices = torch.view_as_complex(reference.slices(known.rotation[block], kxy))
            cross[of_block, i] = (centred.conj() * slices).real.sum(1)
            power[of_block, i] = (weight * slices.abs().square()).sum(1)
    state = known.state[rows.numpy()]
    own = torch.arange(n), torch.from_numpy(state)
    scale = float(cross[own].sum() / power[own].sum())
    prior = torch.from_numpy(np.bincount(known.state) / store.n).log()
    answer = (2 * scale * cross - scale**2 * power + prior).argmax(1).numpy()
    return [radius, len(references), adjusted_rand_score(state, answer), float((answer == state).mean())]


def learned(known: Known, zdim: int) -> SubspaceFit:
    """Components from half set 1, free."""
    store, poses = known.store, (known.rotation, known.shift_px)
    halves = half_maps(known.images, known.half, *poses, store.box / 2, MASK_RADIUS * store.box)
    state = RunState.first(known.half, store.noise, store.box, zdim)
    mask = Conformations(store, state, QuietReporter(), halves, MASK_RADIUS * store.box, 0, search_all=False).mask
    first = torch.nonzero(known.half == 1).squeeze(1)
    guess = torch.randn(len(first), zdim, generator=torch.Generator().manual_seed(0))
    mean = flatten_solvent(halves.raw.mean(0), mask)
    fit = SubspaceFit(known.images, first, known.rotation[first], known.shift_px[first], mean, mask, guess, RADIUS)
    fit.run()
    return fit


def components(known: Known, zdim: int) -> list[list[Any]]:
    """Free, and filtered."""
    fit = learned(known, zdim)
    rows = [["free", *judged(known, fit)]]
    free = fit.volumes
    for sharpness in SHARPNESSES:
        fit.volumes = free
        with patch.object(subspace, "SHARPNESS", sharpness):
            fit.localise()
        rows.append([sharpness, *judged(known, fit)])
    return rows


def judged(known: Known, fit: SubspaceFit) -> list[float]:
    """Gain, its error, and R² of the states, of half set 2."""
    rows = torch.nonzero(known.half == 2).squeeze(1)
    poses = rows, known.rotation[rows], known.shift_px[rows]
    models = raster(fit.volumes, fit.grid), raster(fit.volumes[:1], fit.grid)
    with_states, rigid = (infer_about_poses(known.images, *poses, ball, fit.grid) for ball in models)
    gain = with_states.log_marginal - rigid.log_marginal
    return [float(gain.mean()), float(gain.std()) / len(rows) ** 0.5, explained(known, rows, with_states.mean)]


def explained(known: Known, rows: Tensor, latents: Tensor) -> float:
    """R² of the true states in these images' latents."""
    design = np.column_stack([np.ones(len(rows)), latents.numpy()])
    truth = np.eye(len(known.numbers))[known.state[rows.numpy()]]
    spread = np.square(truth - truth.mean(0)).sum()
    left = np.square(truth - design @ np.linalg.lstsq(design, truth, rcond=None)[0]).sum()
    return 1 - left / spread if spread else float("nan")


def poses_off(known: Known, zdim: int) -> list[list[float]]:
    """R² where poses are believed and where they are integrated out."""
    found, truth = [], known.rotation
    axis = torch.randn(len(truth), 3, generator=torch.Generator().manual_seed(1))
    axis /= axis.norm(dim=1, keepdim=True)
    for off_deg in OFF_DEG:
        known.rotation = axis_angle_to_matrix(axis * np.deg2rad(off_deg)) @ truth
        fit = learned(known, zdim)
        rows, ball = torch.nonzero(known.half == 2).squeeze(1), raster(fit.volumes, fit.grid)
        about = infer_about_poses(known.images, rows, known.rotation[rows], known.shift_px[rows], ball, fit.grid)
        kxy, parts = known.store.disc.kxy[: known.store.disc.count(fit.grid.radius)], []
        for block in rows.split(BLOCK):
            matched, weight = known.images.matched(block, len(kxy))
            centred = matched * shift_phases(known.shift_px[block], kxy, known.store.box)
            parts.append(infer_states(centred, weight, component_columns(slice_ball(ball, fit.grid, known.rotation[block], kxy))))
        found.append([off_deg, *(explained(known, rows, states.mean) for states in (States.cat(parts), about))])
    known.rotation = truth
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="*", default=["H3"], help="names of datasets.py; without any H3, which needs no file")
    parser.add_argument("--states", type=int, nargs="*", help="only the images of these states")
    parser.add_argument("--zdim", type=int, default=4)
    parser.add_argument("--data", type=Path, default=OUT / "data", help="cache of datasets.py")
    parser.add_argument("--shared", type=Path, default=Path("../shared"), help="folder that holds data/maps and data/models")
    parser.add_argument("--out", type=Path, default=OUT / "components.jsonl")
    options = parser.parse_args()
    print(machine.words(machine.describe() | {"threads": torch.get_num_threads()}))
    for name in options.sets:
        known = Known(datasets.make(name, options.data, options.shared), options.states)
        radii = (RADIUS, known.store.box / 2 - 1)
        everyone = torch.arange(known.store.n)
        apart = [told_apart(known, radius, known.maps, everyone) for radius in radii] if len(known.maps) > 1 else []
        rows, off = components(known, options.zdim), poses_off(known, options.zdim)
        print(f"\n{name}, {known.store.n} images")
        if apart:
            print(table(["radius", "states", "ARI", "right"], apart))
        print(table(["sharpness", "gain", "error", "R2"], rows))
        print(table(["off by °", "R2, pose believed", "integrated out"], off))
        options.out.parent.mkdir(parents=True, exist_ok=True)
        with options.out.open("a") as file:
            result = {"set": name, "states": options.states, "apart": apart}
            file.write(json.dumps(result | {"components": rows, "off": off}) + "\n")


if __name__ == "__main__":
    main()
