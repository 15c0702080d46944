"""Small simulated data sets, runs over them that take seconds, and one finished job that several tests look at."""

import csv
import functools
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from cryodrake.app.runner import run_job
from cryodrake.data.coefficients import CoefficientStore
from cryodrake.data.simulation import simulate
from cryodrake.data.simulation_config import SimulateConfig
from cryodrake.io.mrc import read_map, write_map
from cryodrake.io.particles import read_particles
from cryodrake.physics.rotations import axis_angle_to_matrix
from cryodrake.training import abinit, bootstrap, mixture, refinement, starts
from cryodrake.training.bootstrap import Bootstrap, Stage
from cryodrake.training.config import AbinitConfig
from cryodrake.training.images import WeightedImages
from cryodrake.training.solvent import solvent_mask

SCHEDULE = (Stage(10, 24.0, 7.0, 7.0, rate=0.4, momentum=0.0), Stage(90, 24.0, 7.0, 8.0, rate=0.3, momentum=0.8))


def shorten(patch: pytest.MonkeyPatch, schedule: tuple[Stage, ...] = SCHEDULE, batch: int = 150, most_starts: int = 5) -> None:
    """Bootstraps that are enough for clear images of 32 px."""
    patch.setattr(starts, "Bootstrap", functools.partial(Bootstrap, schedule=schedule))
    patch.setattr(starts, "CONTINUED", (schedule[-1], schedule[0]))
    patch.setattr(mixture, "SCHEDULE", schedule)
    patch.setattr(mixture, "BALANCED", tuple(replace(stage, is_balanced=True) for stage in schedule))
    patch.setattr(mixture, "SHARED", replace(mixture.SHARED, first_radius=8.0, last_radius=8.0))
    patch.setattr(starts, "MOST_STARTS", most_starts)
    patch.setattr(bootstrap, "BATCH", batch)


@pytest.fixture(scope="session")
def shortened():
    return shorten


@pytest.fixture(scope="session")
def data(tmp_path_factory):
    """800 images of the built-in complex, 32 px, SNR 0.3, shifts, astigmatism."""
    config = SimulateConfig(
        out=tmp_path_factory.mktemp("training") / "data", n=800, box=32, snr=0.3, shift_px=2, astigmatism_um=0.1, seed=1
    )
    return simulate(config)


@pytest.fixture(scope="session")
def finished(data, tmp_path_factory):
    """The job of a whole `abinit` over `data`."""
    out = tmp_path_factory.mktemp("finished") / "job"
    threads = torch.get_num_threads()
    with pytest.MonkeyPatch.context() as patch:
        shorten(patch)
        job = run_job(AbinitConfig(particles=data / "particles.star", out=out, device="cpu"), "abinit", abinit.run)
    torch.set_num_threads(threads)
    return job


@pytest.fixture(scope="session")
def store(data):
    """The coefficients of `data`."""
    return CoefficientStore.build(read_particles(data / "particles.star"))


@pytest.fixture(scope="session")
def other_complex():
    """A bent chain of blobs, nothing like the built-in complex; 32 px."""
    generator = np.random.default_rng(0)
    at = np.cumsum(generator.standard_normal((60, 3)) * 1.5, 0)
    axis = np.arange(32) - 16
    z, y, x = np.meshgrid(axis, axis, axis, indexing="ij")
    volume = np.zeros((32, 32, 32))
    for centre in np.clip(at - at.mean(0), -9, 9):
        volume += np.exp(-((x - centre[0]) ** 2 + (y - centre[1]) ** 2 + (z - centre[2]) ** 2) / (2 * 1.2**2))
    return volume.astype(np.float32)


@pytest.fixture(scope="session")
def threefold():
    """Blobs in threes about an axis along z through (2, -1), 32 px, and the operators of the turn."""
    generator = torch.Generator().manual_seed(0)
    axis = torch.arange(32) - 16
    z, y, x = torch.meshgrid(axis, axis, axis, indexing="ij")
    third = axis_angle_to_matrix(torch.tensor([[0.0, 0.0, 2 * torch.pi / 3]]))[0]
    volume = torch.zeros(32, 32, 32)
    for at in torch.randn(12, 3, generator=generator) * 4 + torch.tensor([3.0, 0.0, 0.0]):
        for n in range(3):
            cx, cy, cz = torch.tensor([2.0, -1.0, 0.7]) + torch.matrix_power(third, n) @ at
            volume += torch.exp(-((x - cx) ** 2 + (y - cy) ** 2 + (z - cz) ** 2) / (2 * 1.5**2))
    return volume, torch.stack([torch.eye(3), third, third.T])


@pytest.fixture(scope="session")
def posed():
    """Reads a simulated folder: coefficients, true rotations, shifts (pixels) and states."""

    def read(data):
        store = CoefficientStore.build(read_particles(data / "particles.star"))
        table = read_particles(data / "truth" / "particles.star", need_images=False).table
        state = torch.from_numpy(np.load(data / "truth" / "state.npy")).long()
        shift_px = torch.from_numpy(table.shifts_A / store.pixel_size_A).float()
        return store, torch.from_numpy(table.rotations).float(), shift_px, state

    return read


@pytest.fixture(scope="session")
def mixture_of_two(tmp_path_factory, other_complex):
    """Makes sets of so many images of the built-in complex and so many of the other one; 32 px, SNR 1."""

    def make(large, few):
        folder = tmp_path_factory.mktemp("mixed")
        simulate(SimulateConfig(out=folder / "one", n=10, box=32))
        volume, pixel_size_A = read_map(folder / "one" / "truth" / "volumes" / "state_000.mrc")
        maps = folder / "one.mrc", folder / "other.mrc"
        write_map(maps[0], volume, pixel_size_A)
        write_map(maps[1], other_complex * float(np.linalg.norm(volume) / np.linalg.norm(other_complex)), pixel_size_A)
        shares = large, few
        config = SimulateConfig(
            out=folder / "data", structures=maps, shares=shares, n=large + few, box=32, snr=1.0, shift_px=2, seed=3
        )
        return simulate(config)

    return make


@pytest.fixture(scope="session")
def small(tmp_path_factory):
    """60 images of 24 px: nothing converges, everything is quick."""
    config = SimulateConfig(out=tmp_path_factory.mktemp("small") / "data", n=60, box=24, snr=1.0, shift_px=1.5, seed=2)
    return simulate(config)


@pytest.fixture(scope="session")
def hinge(tmp_path_factory, posed):
    """1200 images of 32 px of the built-in complex in eight states of a hinge, with their true poses, and the map of all."""
    config = SimulateConfig(
        out=tmp_path_factory.mktemp("hinge") / "data", n=1200, box=32, snr=0.3, shift_px=2, motion="hinge", states=8, seed=3
    )
    data = simulate(config)
    store, rotation, shift_px, state = posed(data)
    with (data / "truth" / "states.csv").open() as file:
        angle_deg = torch.tensor([float(row["coordinate"]) for row in csv.DictReader(file)])[state]
    images = WeightedImages(store, store.noise, torch.ones(store.n))
    half = torch.arange(store.n) % 2 + 1
    label = refinement.fold_labels(half)
    halves = refinement.half_maps(images, half, rotation, shift_px, store.box / 2, 0.42 * store.box)
    return SimpleNamespace(
        data=data, store=store, images=images, rotation=rotation, shift_px=shift_px, state=state, angle_deg=angle_deg, half=half,
        label=label, halves=halves, mean=halves.raw.mean(0), mask=solvent_mask(store.box, 0.42 * store.box, store.device),
    )  # fmt: skip
