"""Whole jobs on a graphics card, or on a pretend one where there is none: every tensor where it belongs, and the same results.

The pretend card is a device of torch's that cannot be taken back, so each job has a process of its own.
"""

import functools
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils import backend_registration

from cryodrake.analysis.evaluate import EvaluateConfig, evaluate
from cryodrake.data.simulation import simulate
from cryodrake.data.simulation_config import SimulateConfig
from cryodrake.io.mrc import read_map
from cryodrake.physics.fsc import fsc

HERE = Path(__file__).parent
# As the fixtures shorten jobs; here for another process.
PROGRAM = """
import sys
from dataclasses import replace
import pytest
sys.path[:0] = sys.argv[2:4]
import conftest
from cryodrake.training.cryodrgn2 import run as preset
from cryodrake.training.cryodrgn2.schedule import FLEXIBLE
conftest.shorten(pytest.MonkeyPatch())
quick = dict(epochs=2, search_every=2, pretraining_images=70, batch=16, grid_order=1, shifts_a_side=4, keep=4, levels=2, block=40)
preset.published = lambda zdim: replace(FLEXIBLE, **quick)
if sys.argv[1] == "pretended":
    import pretend_card
    sys.exit(pretend_card.run_on_it(sys.argv[4:]))
from cryodrake.app import cli
sys.exit(cli.main(sys.argv[4:]))
"""


NO_DEVICES_OF_OURS = not hasattr(backend_registration, "_setup_privateuseone_for_python_backend")  # new in torch 2.10
CARDS = [
    pytest.param("pretended", marks=pytest.mark.skipif(NO_DEVICES_OF_OURS, reason="this torch knows no devices but its own")),
    pytest.param("cuda", marks=[pytest.mark.cuda, pytest.mark.skipif(not torch.cuda.is_available(), reason="no card")]),
]


def run_on(where, *arguments):
    """A command, made short, on a card or on the processor, in a process of its own."""
    line = [sys.executable, "-c", PROGRAM, where, HERE, HERE.parents[1] / "benchmarks", *arguments]
    done = subprocess.run(list(map(str, line)), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.fixture(params=CARDS)
def on_card(request):
    """Runs a command there."""
    return functools.partial(run_on, request.param)


@pytest.fixture(scope="module")
def hinge(tmp_path_factory):
    """800 images of the built-in complex, one domain of which turns: as many as two starts need to agree on."""
    out = tmp_path_factory.mktemp("card") / "data"
    return simulate(SimulateConfig(out=out, n=800, box=32, snr=0.3, shift_px=2, motion="hinge", seed=1))


def test_a_job_with_states_from_images_to_maps(on_card, hinge, tmp_path):
    job = tmp_path / "job"
    on_card("abinit", hinge / "particles.star", "-o", job, "--zdim", 2)
    result = evaluate(EvaluateConfig(job=job, truth=hinge))
    assert result.rotation_error_median_deg < 3
    assert result.share_within_10_deg > 0.97
    assert result.fsc_auc_masked > 0.9
    assert result.states.coordinate_r2 > 0.8
    on_card("volumes", job, "-o", tmp_path / "decoded", "--kmeans", 2)
    on_card("volumes", job, "-o", tmp_path / "data", "--kmeans", 2, "--kind", "data")
    decoded, from_data = (torch.from_numpy(read_map(tmp_path / kind / "vol_000.mrc")[0]) for kind in ("decoded", "data"))
    assert fsc(decoded, from_data)[1:8].mean() > 0.8


def test_states_with_poses_given_are_those_of_a_processor(on_card, hinge, tmp_path):
    options = [hinge / "truth" / "particles.star", "--datadir", hinge, "--zdim", 2]
    on_card("train", *options, "-o", tmp_path / "card")
    run_on("processor", "train", *options, "-o", tmp_path / "processor", "--device", "cpu")
    card, processor = (np.load(tmp_path / where / "latents.npy") for where in ("card", "processor"))
    correlation = np.abs(np.corrcoef(card.T, processor.T)[:2, 2:])
    assert correlation.max(1).min() > 0.97


def test_the_published_algorithm_ends_as_on_a_processor(on_card, hinge, tmp_path):
    rows = tmp_path / "rows.txt"
    rows.write_text("\n".join(map(str, range(100))))
    options = ["abinit", hinge / "particles.star", "--ind", rows, "--preset", "cryodrgn2", "--zdim", 2]
    on_card(*options, "-o", tmp_path / "card")
    run_on("processor", *options, "-o", tmp_path / "processor", "--device", "cpu")
    for result in ("latents.npy", "maps/consensus.mrc"):
        read = np.load if result.endswith("npy") else lambda path: read_map(path)[0]
        card, processor = (read(tmp_path / where / result).ravel() for where in ("card", "processor"))
        assert np.corrcoef(card, processor)[0, 1] > 0.9
