"""States of particles with known poses, through the command; and poses from a cryoDRGN file."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from sklearn.metrics import adjusted_rand_score

from cryodrake.analysis.evaluate import EvaluateConfig, evaluate
from cryodrake.app.cli import main
from cryodrake.app.runner import run_job, words_to_open
from cryodrake.data.simulation import simulate
from cryodrake.data.simulation_config import SimulateConfig
from cryodrake.errors import InputError
from cryodrake.fields.store import load_state_field
from cryodrake.io.cryodrgn import write_poses
from cryodrake.io.particles import read_particles
from cryodrake.io.rows import read_rows
from cryodrake.physics.rotations import axis_angle_to_matrix, geodesic_deg
from cryodrake.training import backproject, given
from cryodrake.training.config import BackprojectConfig, TrainConfig
from cryodrake.training.images import WeightedImages
from cryodrake.training.output_states import StatesInMaps
from cryodrake.training.refinement import half_maps
from cryodrake.training.state import RunState


@pytest.fixture(scope="module")
def trained(hinge, tmp_path_factory):
    config = TrainConfig(
        particles=hinge.data / "truth" / "particles.star", datadir=hinge.data, out=tmp_path_factory.mktemp("train") / "job", zdim=2,
        device="cpu",
    )  # fmt: skip
    return run_job(config, "train", given.run)


def test_states_follow_the_hinge_and_poses_stay(trained, hinge):
    latents = torch.from_numpy(np.load(trained.path / "latents.npy"))
    design = torch.cat([torch.ones(len(latents), 1), latents, latents**2], 1)
    angle = design @ torch.linalg.lstsq(design, hinge.angle_deg[:, None]).solution
    assert spearmanr(angle[:, 0], hinge.angle_deg).statistic > 0.9
    table = read_particles(trained.path / "particles.star", need_images=False).table
    np.testing.assert_allclose(table.rotations, hinge.rotation.numpy(), atol=1e-5)
    assert "states explain unseen images better" in trained.status["verdict"]


def test_the_states_are_among_the_files_to_look_at(trained):
    said = words_to_open(trained)
    for name in ("maps/states/view.cxc", "latents.npy", "particles.star"):
        assert str(trained.path / name) in said
        assert (trained.path / name).exists()
    assert "classes" not in said.replace("of states, or of classes", "")  # there are none


def test_distances_of_states_are_those_of_their_maps(trained):
    """In units of one length: the strongest coordinate has unit variance, its posterior's included."""
    latents = torch.from_numpy(np.load(trained.path / "latents.npy"))
    precision = torch.from_numpy(np.load(trained.path / "latents_precision.npy"))
    decode = load_state_field(trained.path / "checkpoints" / "field.safetensors").decoder()
    with torch.no_grad():
        maps = torch.stack([decode(z) for z in latents[:20]]).flatten(1)
    ratio = torch.pdist(maps) / torch.pdist(latents[:20])
    torch.testing.assert_close(ratio, ratio.mean().expand_as(ratio), rtol=0.02, atol=0)
    variance = latents.square().mean(0) + torch.linalg.inv(precision).diagonal(dim1=1, dim2=2).mean(0)
    assert float(variance.max()) == pytest.approx(1, abs=0.02)
    assert float(variance[0]) == float(variance.max())
    assert float(variance[1]) < 0.7 * float(variance[0])  # the hinge is one motion


def test_structures_that_lack_parts_are_groups_with_their_shares(tmp_path):
    """Whole, without one half of its parts, and without the other: nothing lies between them."""
    data = simulate(
        SimulateConfig(
            out=tmp_path / "data", n=1200, box=32, snr=0.3, shift_px=2, motion="composition",
            subsets=("whole=*", "less=[A-J]", "other=[E-N]"), shares=(3.0, 2.0, 1.0), seed=6,
        )
    )  # fmt: skip
    config = TrainConfig(particles=data / "truth" / "particles.star", datadir=data, out=tmp_path / "job", zdim=4, device="cpu")
    job = run_job(config, "train", given.run)
    true, group = np.load(data / "truth" / "state.npy"), np.load(job.path / "groups.npy")
    assert group.max() == 2
    assert adjusted_rand_score(true, group) > 0.95
    assert "fall into 3 separate groups of 50%, 33%, 17% of the images" in job.status["verdict"]
    states = evaluate(EvaluateConfig(job=job.path, truth=data)).states
    assert states is not None
    assert states.kmeans_ari > 0.95
    assert states.n_groups == 3
    assert states.groups_ari == pytest.approx(adjusted_rand_score(true, group))
    assert states.image_auc_mean > states.static_auc_mean + 0.01
    out = tmp_path / "least.txt"
    assert main(["filter", str(job.path), "state_group == 3", "-o", str(out)]) == 0
    assert read_rows(out, 1200).tolist() == np.flatnonzero(group == 2).tolist()


def test_coordinates_are_in_order_of_their_filtered_components():
    """A component that the filter takes more of than of the next changes its place, with its latents and their precision."""
    g = torch.Generator().manual_seed(0)
    state = RunState.first(torch.ones(5, dtype=torch.int64), torch.ones(1, 5), 8, zdim=3)
    state.is_flexible, state.latents = True, torch.randn(5, 3, generator=g)
    root = torch.randn(5, 3, 3, generator=g)
    state.precision = root @ root.transpose(1, 2) + torch.eye(3)
    components = torch.randn(4, 8, 8, 8, generator=g) * torch.tensor([1.0, 0.5, 2.0, 1.0])[:, None, None, None]
    found = StatesInMaps.of(components, state)
    strength = found.latents.norm(dim=0) / state.latents[:, [1, 2, 0]].norm(dim=0)
    assert strength.tolist() == sorted(strength.tolist(), reverse=True)
    for z, own in ((found.latents, found.components), (state.latents, components)):
        maps = torch.einsum("nz,zijk->nijk", z, own[1:])
        torch.testing.assert_close(maps, torch.einsum("nz,zijk->nijk", state.latents, components[1:]), atol=1e-5, rtol=0)
    distance = [
        torch.einsum("ny,nyz,nz->n", z, p, z) for z, p in ((found.latents, found.precision), (state.latents, state.precision))
    ]
    torch.testing.assert_close(*distance, rtol=1e-4, atol=0)


def test_half_maps_are_those_of_the_refined_poses(hinge, tmp_path):
    """Poses that are 5 degrees off: the FSC that is written is not theirs any more."""
    table = read_particles(hinge.data / "truth" / "particles.star", need_images=False).table
    turns = axis_angle_to_matrix(np.radians(5) * torch.randn(hinge.store.n, 3, generator=torch.Generator().manual_seed(1)) / 3**0.5)
    off = turns @ hinge.rotation
    write_poses(tmp_path / "pose.pkl", replace(table, rotations=off.double().numpy()))
    config = TrainConfig(
        particles=hinge.data / "particles.star",
        poses=tmp_path / "pose.pkl",
        out=tmp_path / "job",
        zdim=2,
        refine=True,
        device="cpu",
    )
    job = run_job(config, "train", given.run)
    assert "half maps of the refined poses" in job.status["verdict"]
    found = read_particles(job.path / "particles.star", need_images=False).table
    before, after = (geodesic_deg(r, hinge.rotation).median() for r in (off, torch.from_numpy(found.rotations).float()))
    assert float(after) < 0.8 * float(before)
    images = WeightedImages(hinge.store, hinge.store.noise, torch.from_numpy(np.load(job.path / "scales.npy")))
    written = torch.from_numpy(np.loadtxt(job.path / "maps" / "fsc.csv", delimiter=",", skiprows=1)[:, 1]).float()
    poses = torch.from_numpy(found.rotations).float(), torch.from_numpy(found.shifts_A).float() / hinge.store.pixel_size_A
    refined, as_given = (
        half_maps(images, torch.from_numpy(found.half_set), *p, 16.0, 0.42 * 32).fsc[1:] for p in (poses, (off, hinge.shift_px))
    )
    torch.testing.assert_close(written, refined, atol=2e-3, rtol=0)
    assert float(written.mean()) > float(as_given.mean()) + 0.01


def test_its_maps_are_nearer_to_the_true_states_than_one_map(trained, hinge):
    states = evaluate(EvaluateConfig(job=trained.path, truth=hinge.data)).states
    assert states is not None
    assert states.image_auc_mean > states.static_auc_mean + 0.01
    assert states.image_auc_moving_mean > states.static_auc_moving_mean + 0.02


def test_images_that_differ_in_contrast_are_not_in_states(tmp_path):
    """A rigid structure: contrast belongs to the image, though it changes it much more than a state would."""
    data = simulate(SimulateConfig(out=tmp_path / "data", n=800, box=32, snr=0.3, scale_jitter=0.3, seed=4))
    config = TrainConfig(particles=data / "truth" / "particles.star", datadir=data, out=tmp_path / "job", zdim=2, device="cpu")
    job = run_job(config, "train", given.run)
    assert "no states were found" in job.status["verdict"]
    assert 0.15 < float(np.load(job.path / "scales.npy").std()) < 0.4


def test_particles_without_poses_are_refused(hinge, tmp_path):
    config = TrainConfig(particles=hinge.data / "particles.star", out=tmp_path / "job", device="cpu")
    with pytest.raises(InputError, match="no poses"):
        run_job(config, "train", given.run)


def test_poses_may_come_from_cryodrgn(hinge, tmp_path):
    truth = hinge.data / "truth" / "particles.star"
    write_poses(tmp_path / "pose.pkl", read_particles(truth, need_images=False).table)
    jobs = []
    for name, particles, more in (
        ("own", truth, {"datadir": hinge.data}),
        ("pkl", hinge.data / "particles.star", {"poses": tmp_path / "pose.pkl"}),
    ):
        config = BackprojectConfig(particles=particles, out=tmp_path / name, device="cpu", **more)
        jobs.append(run_job(config, "backproject", backproject.run))
    own, pkl = (read_particles(job.path / "particles.star", need_images=False).table for job in jobs)
    np.testing.assert_allclose(own.rotations, pkl.rotations, atol=1e-5)
    np.testing.assert_allclose(own.shifts_A, pkl.shifts_A, atol=1e-3)
