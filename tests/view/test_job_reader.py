"""What the page reads of a job, damaged and hostile files included."""

import os
import pickle

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

pytest.importorskip("dash")

from cryodrake.errors import InputError
from cryodrake.io.particles import read_particles
from cryodrake.physics.rotations import random_rotations
from cryodrake.view.job_reader import JobReader


@pytest.fixture
def reader(job):
    return JobReader(job, "hinge")


def test_columns_know_how_crowded_a_view_is_and_rotations_are_those_of_the_file(reader, job):
    columns = reader.columns()
    assert columns["view_density"].mean() == pytest.approx(1, abs=0.5)
    assert reader.rotations() == pytest.approx(read_particles(job / "particles.star", need_images=False).table.rotations, abs=1e-6)


def test_a_particles_map_is_that_of_its_state_and_of_a_rigid_job_the_consensus(reader, job):
    z = np.load(job / "latents.npy")
    first, last = (reader.map_of_row(int(i)).volume for i in (z[:, 0].argmin(), z[:, 0].argmax()))
    for found, name in ((first, "maps/states/state_00"), (last, "maps/states/state_01")):
        assert np.corrcoef(found.ravel(), reader.viewable(name).volume.ravel())[0, 1] > 0.99
    (job / "latents.npy").unlink()
    assert np.array_equal(reader.map_of_row(3).volume, reader.viewable("maps/consensus").volume)


def test_views_of_a_running_job_come_from_its_newest_checkpoint(reader, job):
    (job / "particles.star").unlink()
    assert reader.coverage() is None
    for number, rotations in enumerate((torch.eye(3).expand(9, 3, 3), random_rotations(9, torch.Generator().manual_seed(0)))):
        folder = job / "checkpoints" / f"{number:06d}_refine"
        folder.mkdir()
        save_file({"rotation": rotations.contiguous()}, folder / "tensors.safetensors")
        found = reader.rotations()
        assert found is None if number == 0 else np.array_equal(found, rotations.numpy())
    (job / "checkpoints" / "000002_cut").mkdir()
    (job / "checkpoints" / "000002_cut" / "tensors.safetensors").write_bytes(b"\x00\x01")
    assert reader.rotations() is None


class Bomb:
    def __reduce__(self):
        return os.system, ("touch bomb_went_off",)


def test_a_pickle_in_the_place_of_numbers_is_refused_and_not_run(reader, job, monkeypatch):
    monkeypatch.chdir(job)
    (job / "latents.npy").write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(InputError, match=r"latents\.npy"):
        reader.latents()
    np.save(job / "latents.npy", np.array([Bomb()], dtype=object), allow_pickle=True)
    with pytest.raises(InputError, match=r"latents\.npy"):
        reader.columns()
    assert not (job / "bomb_went_off").exists()


@pytest.mark.parametrize(("name", "read"), [("status.json", "status"), ("events.jsonl", "events"), ("particles.star", "columns")])
def test_damaged_records_are_said_with_their_file(reader, job, name, read):
    (job / name).write_text("{ this is not\n")
    with pytest.raises(InputError, match=name.replace(".", r"\.")):
        getattr(reader, read)()


def test_a_map_that_changes_is_read_again(reader, job):
    before = reader.viewable("maps/consensus").volume
    (job / "maps" / "consensus.mrc").write_bytes((job / "maps" / "states" / "state_00.mrc").read_bytes())
    os.utime(job / "maps" / "consensus.mrc", ns=(1, 1))
    assert not np.array_equal(reader.viewable("maps/consensus").volume, before)


def test_a_status_that_is_no_table_and_a_stage_that_is_no_map_are_said(reader, job):
    (job / "status.json").write_text("[1, 2]")
    with pytest.raises(InputError, match=r"status\.json"):
        reader.status()
    path = reader.stages()[0]
    path.write_bytes(b"PK\x03\x04 cut off")
    with pytest.raises(InputError, match=path.stem):
        reader.stage(path)
    np.savez(path, volume=np.array([Bomb()], dtype=object), pixel_size_A=1.0, resolution_A=1.0)
    with pytest.raises(InputError, match=path.stem):
        reader.stage(path)


def test_a_state_is_decoded_once_until_the_field_changes(reader, job):
    z, field = np.load(job / "latents.npy"), job / "checkpoints" / "field.safetensors"
    first = reader.decode(z[0])
    assert reader.decode(z[0]) is first
    assert reader.decode(z[1]) is not first
    os.utime(field, ns=(1, 1))
    assert reader.decode(z[0]) is not first
