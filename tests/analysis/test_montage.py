"""Projections beside images: those of clean simulated images are the images."""

import numpy as np
import pytest
import torch

from cryodrake.analysis.montage import montage
from cryodrake.data.simulation import simulate
from cryodrake.data.simulation_config import SimulateConfig
from cryodrake.io.mrc import read_map
from cryodrake.io.particles import read_particles


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("montage") / "data"
    simulate(SimulateConfig(out=folder, n=8, box=32, snr=200.0, shift_px=3, seed=3))
    truth = read_particles(folder / "truth" / "particles.star", need_images=False).table
    particles = read_particles(folder / "particles.star")
    particles.write_star(folder / "posed.star", rotations=truth.rotations, shifts_A=truth.shifts_A)
    volume, pixel_size_A = read_map(next((folder / "truth" / "volumes").glob("*.mrc")))
    return read_particles(folder / "posed.star"), torch.from_numpy(volume), pixel_size_A


def test_at_the_true_poses_images_and_projections_agree(data):
    particles, volume, pixel_size_A = data
    shown = montage(particles, np.arange(8), lambda row: volume, pixel_size_A, smooth_A=10)
    assert shown.agreement.min() > 0.97
    assert shown.images.shape == shown.projections.shape == (8, 32, 32)


def test_with_another_images_pose_or_the_opposite_shift_they_do_not(data, tmp_path):
    particles, volume, pixel_size_A = data
    table = particles.table
    for name, change in (("turned", {"rotations": table.rotations[::-1].copy()}), ("moved", {"shifts_A": -table.shifts_A})):
        particles.write_star(particles.path.with_name(f"{name}.star"), **change)
        other = read_particles(particles.path.with_name(f"{name}.star"))
        assert montage(other, np.arange(8), lambda row: volume, pixel_size_A, smooth_A=10).agreement.mean() < 0.9


def test_dark_particles_are_shown_white_and_rows_may_come_in_any_order(data):
    particles, volume, pixel_size_A = data
    shown = montage(particles, np.array([5, 2]), lambda row: volume, pixel_size_A, smooth_A=10)
    assert shown.agreement.min() > 0.97
    middle = shown.images[:, 8:24, 8:24].mean((1, 2))
    assert (middle > shown.images.mean((1, 2))).all()


def test_each_row_is_compared_with_the_map_of_its_own_state(data):
    particles, volume, pixel_size_A = data
    other = volume.flip(2)
    asked = []

    def map_of(row):
        asked.append(row)
        return volume if row < 2 else other

    mixed = montage(particles, np.arange(4), map_of, pixel_size_A, smooth_A=10)
    assert asked == [0, 1, 2, 3]  # each once: decoding takes long
    assert mixed.agreement[:2].min() > 0.97 > mixed.agreement[2:].max() + 0.02
