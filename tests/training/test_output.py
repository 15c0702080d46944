"""What a finished job leaves: every file of the contract, and that the files say the same as each other."""

import csv
import json

import numpy as np
import pytest
import starfile
import torch

from cryodrake.app.options import read_options
from cryodrake.fields.store import load_field
from cryodrake.io.mrc import read_map
from cryodrake.io.particles import read_particles
from cryodrake.physics.fourier import resample_volume
from cryodrake.physics.fsc import area_under, crossing_shell, fsc
from cryodrake.training.config import AbinitConfig
from cryodrake.training.solvent import flatten_solvent, solvent_mask
from cryodrake.training.stages import load_stages

POSES = ["rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi", "rlnOriginXAngst", "rlnOriginYAngst"]
NEW = [*POSES, "rlnRandomSubset", "rlnMaxValueProbDistribution"]


def a_map(job, name):
    volume, pixel_size_A = read_map(job.maps / f"{name}.mrc")
    assert pixel_size_A == pytest.approx(10.56)
    return torch.from_numpy(np.array(volume))


def test_every_file_of_the_contract_is_there(finished):
    names = [
        *("job.toml", "status.json", "log.txt", "events.jsonl", "particles.star", "scales.npy"),
        *("maps/consensus.mrc", "maps/field.mrc", "maps/half1_unfil.mrc", "maps/half2_unfil.mrc", "maps/fsc.csv"),
        *("checkpoints/field.safetensors", "figures/progress.png", "figures/fsc.png", "figures/views.png"),
    ]
    for name in names:
        assert (finished.path / name).stat().st_size > 0, name
    assert not (finished.path / "latents.npy").exists()  # zdim is 0
    assert not list(finished.path.rglob("*.pkl"))
    assert not list(finished.path.rglob(".*.partial*"))


def test_the_star_file_keeps_the_inputs_columns_and_rows_and_adds_ours(finished, data):
    before = starfile.read(data / "particles.star", always_dict=True)
    after = starfile.read(finished.path / "particles.star", always_dict=True)
    assert list(after["particles"].columns) == [*before["particles"].columns, *NEW]
    assert after["particles"][before["particles"].columns].equals(before["particles"])
    assert after["optics"].equals(before["optics"])
    new = after["particles"][NEW]
    assert np.isfinite(new.to_numpy(float)).all()
    assert sorted(new["rlnRandomSubset"].value_counts()) == [400, 400]
    assert new["rlnMaxValueProbDistribution"].between(0, 1).all()
    assert new[["rlnOriginXAngst", "rlnOriginYAngst"]].abs().to_numpy().max() < 0.3 * 32 * 10.56


def test_the_poses_read_back_are_those_of_the_run(finished):
    _, tensors, _ = finished.load_latest()
    table = read_particles(finished.path / "particles.star", need_images=False).table
    np.testing.assert_allclose(table.rotations, tensors["joint_rotation"].numpy(), atol=1e-6)
    np.testing.assert_allclose(table.shifts_A, tensors["joint_shift_px"].numpy() * 10.56, atol=1e-4)
    np.testing.assert_array_equal(table.half_set, tensors["half"].numpy())
    np.testing.assert_allclose(table.confidence, tensors["confidence"].numpy(), atol=1e-6)


def test_status_says_how_it_ended(finished):
    status = json.loads((finished.path / "status.json").read_text())
    assert (status["state"], status["progress"], status["eta_s"]) == ("finished", 1.0, 0.0)
    assert status["resolution_A"] == pytest.approx(status_resolution(finished), rel=1e-3)
    assert 0 <= status["confident_share"] <= 1
    assert status["mean_pose_change_deg"] >= 0
    assert status["warnings"] == []


def status_resolution(job):
    rows = fsc_rows(job)
    curve = torch.tensor([1.0, *(float(row["fsc"]) for row in rows)])
    return 32 * 10.56 / crossing_shell(curve, 0.143)


def fsc_rows(job):
    with (job.maps / "fsc.csv").open() as file:
        return list(csv.DictReader(file))


def test_the_fsc_is_that_of_the_half_maps(finished):
    rows = fsc_rows(finished)
    assert list(rows[0]) == ["frequency_inv_A", "fsc", "fsc_unmasked"]
    half1, half2 = a_map(finished, "half1_unfil"), a_map(finished, "half2_unfil")
    bare = fsc(half1, half2)[1:]
    np.testing.assert_allclose([float(row["fsc_unmasked"]) for row in rows], bare, atol=1e-4)
    np.testing.assert_allclose([float(row["frequency_inv_A"]) for row in rows], np.arange(1, 17) / (32 * 10.56), atol=1e-6)
    mask = solvent_mask(32, 0.42 * 32, torch.device("cpu"))
    masked = fsc(flatten_solvent(half1, mask), flatten_solvent(half2, mask))[1:-1]
    np.testing.assert_allclose([float(row["fsc"]) for row in rows][:-1], masked, atol=1e-4)


def test_consensus_halves_and_field_are_one_map(finished):
    half1, half2, consensus, field = (a_map(finished, n) for n in ("half1_unfil", "half2_unfil", "consensus", "field"))
    assert area_under(fsc((half1 + half2) / 2, consensus)[:14]) > 0.9
    assert area_under(fsc(consensus, field)[:14]) > 0.95
    assert float(field.std() / consensus.std()) == pytest.approx(1, abs=0.15)
    # Particles are bright: the density's own mass is positive.
    assert float((consensus**3).sum()) > 0


def test_the_field_is_evaluable_at_any_box_size(finished):
    field = load_field(finished.checkpoints / "field.safetensors")
    assert (field.box, field.box_A) == (32, pytest.approx(32 * 10.56))
    with torch.no_grad():
        own, finer = field.to_volume()[0], field.to_volume(48)[0]
    mask = solvent_mask(32, 0.42 * 32, torch.device("cpu"))
    torch.testing.assert_close(flatten_solvent(own, mask), a_map(finished, "field"), atol=1e-3 * float(own.std()), rtol=0)
    # The finer box has room for the last shell, at the field's own limit; the others are the same.
    assert float(fsc(finer, resample_volume(own, 48))[1:15].min()) > 0.9999
    assert float(finer.max()) == pytest.approx(float(own.max()), rel=0.1)


def test_the_options_run_again_as_they_are(finished, data):
    config = read_options(finished.path / "job.toml", AbinitConfig, "abinit")
    assert config == AbinitConfig(particles=data / "particles.star", out=finished.path, device="cpu")


def test_events_and_stages_tell_the_story(finished):
    events = finished.events()
    phases = [event["name"] for event in events if event["event"] == "phase"]
    assert phases[:2] == ["read", "start 1"]
    assert phases[-2:] == ["join", "maps"]
    refinements = [name for name in phases if name.startswith("refine")]
    assert refinements == [f"refine {i + 1}" for i in range(len(refinements))]
    assert len(refinements) >= 4
    assert events[-1]["event"] == "verdict"
    stages = load_stages(finished.figures / "stages")
    assert [s.name for s in stages] == ["start 1", "start 2", *refinements]  # the first two starts are one phase
    # The map sharpens.
    assert stages[-1].resolution_A < stages[0].resolution_A


def test_what_an_iteration_found_is_on_record(finished):
    """Every refinement ends with a step that says how good the map is and how sure the poses are."""
    events = finished.events()
    told = [e for e in events if e["event"] == "step" and "resolution_A" in e]
    iterations = sum(e["event"] == "phase" and e["name"].startswith("refine") for e in events)
    assert len(told) == iterations
    assert all({"confident_share", "mean_pose_change_deg"} <= set(e) for e in told)
