"""Whole runs of the preset, made short: what they leave, and that a stopped one goes on as if it had not been."""

import functools
import re
from dataclasses import replace

import numpy as np
import pytest
import torch

from cryodrake.analysis.decoder import open_decoder
from cryodrake.app import abinit as command
from cryodrake.app.volumes import main as volumes
from cryodrake.app.volumes_config import VolumesConfig
from cryodrake.errors import InputError, JobStopped
from cryodrake.fields.store import load_state_field
from cryodrake.io.job import JobFolder
from cryodrake.io.mrc import read_map
from cryodrake.io.particles import read_particles
from cryodrake.training.config import AbinitConfig
from cryodrake.training.cryodrgn2 import run as preset
from cryodrake.training.cryodrgn2.images import NormalisedImages
from cryodrake.training.cryodrgn2.schedule import FLEXIBLE
from cryodrake.training.events import QuietReporter
from cryodrake.training.state_files import write_states

QUICK = replace(
    FLEXIBLE, epochs=3, search_every=2, pretraining_images=70, batch=16, grid_order=1, shifts_a_side=4, keep=4, levels=2, block=40
)
KINDS = {"rigid": {}, "encoder": {"zdim": 2}, "table": {"zdim": 2, "latents": "table"}}


def config_of(small, out, **options):
    return AbinitConfig(particles=small / "particles.star", out=out, device="cpu", preset="cryodrgn2", **options)


def results(job):
    """The bytes of every result; what the command draws of them afterwards is not there in all of these runs."""
    kept = [
        *(job / "maps").rglob("*.mrc"),
        *(job / "maps").rglob("*.csv"),
        *job.glob("*.npy"),
        job / "particles.star",
        job / "checkpoints" / "field.safetensors",
    ]
    return {str(path.relative_to(job)): path.read_bytes() for path in sorted(kept)}


def run_to_the_end(small, out, stops=(), **options):
    """Runs until asked to stop, time and again, and then to the end; where it was stopped."""
    job, where = JobFolder.create(out), []
    for stop_after in [*stops, None]:
        try:
            preset.run(config_of(small, out, **options), job, QuietReporter(stop_after), QUICK)
        except JobStopped as stop:
            where.append(str(stop))
        job.close()
        if stop_after is not None:
            job = JobFolder.resume(out)
    return where


@pytest.fixture(scope="module", autouse=True)
def two_states():
    """Maps of representative states take longer than all the rest."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("cryodrake.training.cryodrgn2.output.write_states", functools.partial(write_states, n=2))
        yield


@pytest.fixture(scope="module")
def finished(small, two_states, tmp_path_factory):
    """The command itself, with states."""
    out = tmp_path_factory.mktemp("finished") / "job"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(preset, "published", lambda zdim: QUICK)
        command.main(config_of(small, out, zdim=2))
    return JobFolder(out)


@pytest.fixture(scope="module")
def alone(small, finished, tmp_path_factory):
    """Files of runs that were left alone."""
    folder = tmp_path_factory.mktemp("alone")
    for kind in ("rigid", "table"):
        run_to_the_end(small, folder / kind, **KINDS[kind])
    return {"rigid": results(folder / "rigid"), "table": results(folder / "table"), "encoder": results(finished.path)}


@pytest.mark.parametrize(
    ("kind", "stops", "where"),
    [
        ("rigid", [2, 3, 1], ["in epoch 0", "in the search of epoch 1", "in epoch 1"]),
        ("encoder", [13, 4], ["after epoch 1", "after epoch 2"]),
        ("table", [9, 3, 2, 2], ["in epoch 1", "after epoch 1", "in epoch 2", "in the search of epoch 3"]),
    ],
)
def test_a_stopped_run_ends_the_same(small, alone, tmp_path, kind, stops, where):
    """A run asks after every step, after each group of images that was searched, and after an epoch."""
    assert run_to_the_end(small, tmp_path / "job", stops, **KINDS[kind]) == ["stopped " + words for words in where]
    assert results(tmp_path / "job") == alone[kind]


def test_after_a_resume_poses_are_those_that_were_found(small, tmp_path, monkeypatch):
    """cryoDRGN 4.3 goes on with the identity for every image."""
    out = tmp_path / "job"
    with pytest.raises(JobStopped):  # in epoch 2, which trains at the poses of epoch 1
        preset.run(config_of(small, out), job := JobFolder.create(out), QuietReporter(14), QUICK)
    _, tensors, meta = job.load_latest()
    assert meta["epoch"] == 2
    found = tensors["poses.rotation"]
    assert not bool((found == torch.eye(3)).all((1, 2)).any())
    job.close()
    used = []
    batch = NormalisedImages.batch

    def watched(self, rows, rotation, shift_px):
        used.append((rows, rotation.clone(), shift_px.clone()))
        return batch(self, rows, rotation, shift_px)

    monkeypatch.setattr(NormalisedImages, "batch", watched)
    with pytest.raises(JobStopped):
        preset.run(config_of(small, out), JobFolder.resume(out), QuietReporter(1), QUICK)
    assert used
    for rows, rotation, shift_px in used:
        assert torch.equal(rotation, found[rows])
        assert torch.equal(shift_px, tensors["poses.shift_px"][rows])


def test_every_file_of_the_contract_is_there(finished):
    names = [
        *("job.toml", "status.json", "particles.star", "latents.npy", "latents_precision.npy", "checkpoints/field.safetensors"),
        *("maps/consensus.mrc", "maps/field.mrc", "maps/half1_unfil.mrc", "maps/half2_unfil.mrc", "maps/fsc.csv"),
        *("maps/states/state_00.mrc", "maps/states/z_values.txt", "figures/progress.png", "figures/fsc.png", "figures/views.png"),
    ]
    for name in names:
        assert (finished.path / name).stat().st_size > 0, name
    assert not list(finished.path.rglob("*.pkl"))


def test_the_verdict_claims_nothing(finished):
    assert finished.status["state"] == "finished"
    assert finished.status["converged"] is None
    assert "no test of convergence" in finished.status["verdict"]
    assert "too good" in finished.status["verdict"]
    told = [event for event in finished.events() if "moved_share" in event]
    assert re.search(rf"found {told[-1]['moved_share']:.1%} of them elsewhere than the search before", finished.status["verdict"])
    assert 0 <= finished.status["confident_share"] <= 1


def test_poses_and_latents_are_those_of_the_run(finished):
    _, tensors, _ = finished.load_latest()
    table = read_particles(finished.path / "particles.star", need_images=False).table
    np.testing.assert_allclose(table.rotations, tensors["poses.rotation"].numpy(), atol=1e-6)
    np.testing.assert_array_equal(table.half_set, tensors["poses.half"].numpy())
    latents, precision = np.load(finished.path / "latents.npy"), np.load(finished.path / "latents_precision.npy")
    assert latents.shape == (60, 2)
    assert latents.dtype == np.float32
    assert precision.shape == (60, 2, 2)
    assert bool((np.linalg.eigvalsh(precision) > 0).all())


def test_the_saved_field_is_that_of_the_map(finished):
    """In the images' units: the network's are undone."""
    field = load_state_field(finished.path / "checkpoints" / "field.safetensors")
    assert float(field.plain.profile.amplitude[0]) != 1
    with torch.no_grad():
        volume = field.to_volume(torch.zeros(1, 2))[0]
    saved = torch.from_numpy(np.array(read_map(finished.path / "maps" / "field.mrc")[0]))
    inside = saved[8:16, 8:16, 8:16]
    assert float(torch.corrcoef(torch.stack([inside.flatten(), volume[8:16, 8:16, 8:16].flatten()]))[0, 1]) > 0.999
    scale = float(inside.std() / volume[8:16, 8:16, 8:16].std())
    assert scale == pytest.approx(1, abs=0.05)


def test_other_commands_decode_its_states(finished, tmp_path):
    latents = np.load(finished.path / "latents.npy")
    decoder = open_decoder(finished.path, latents, None)
    maps = decoder.decode(torch.from_numpy(latents[:2]))
    assert maps.shape == (2, 24, 24, 24)
    volumes(VolumesConfig(job=finished.path, out=tmp_path / "volumes", particles="0,1", device="cpu"))
    written = torch.from_numpy(np.array(read_map(tmp_path / "volumes" / "vol_001.mrc")[0]))
    same = torch.corrcoef(torch.stack([written[8:16, 8:16, 8:16].flatten(), maps[1, 8:16, 8:16, 8:16].flatten()]))
    assert float(same[0, 1]) > 0.999


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"exact_search": True}, "--exact-search"),
        ({"latents": "table", "zdim": 2}, "--latents"),
        ({"latents": "table", "preset": "cryodrgn2"}, "no states"),
    ],
)
def test_options_of_this_preset_are_refused_where_nothing_would_read_them(tmp_path, options, message):
    with pytest.raises(InputError, match=message):
        AbinitConfig(particles=tmp_path / "a.star", out=tmp_path / "job", **options)
