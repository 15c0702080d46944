"""`evaluate` on jobs with states: decoders that give the true maps, their mean, or the wrong ones."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.spatial.transform import Rotation
from sklearn.metrics import adjusted_rand_score

from cryodrake.analysis.decoder import Decoder, open_decoder
from cryodrake.analysis.evaluate import EvaluateConfig, evaluate
from cryodrake.analysis.evaluate_classes import ClassMap, curves_of_classes
from cryodrake.analysis.evaluate_images import auc, evenly_spaced, image_curves
from cryodrake.analysis.evaluate_maps import AlignedMap, cryobench_auc, true_map
from cryodrake.analysis.evaluate_result import EvaluationResult
from cryodrake.analysis.evaluate_states import evaluate_states, score_latents
from cryodrake.data.density import gaussian_density
from cryodrake.errors import InputError
from cryodrake.inference.alignment import Alignment, move, within_ball
from cryodrake.io.mrc import read_map, write_map
from cryodrake.io.relion_write import write_new_star
from cryodrake.io.table import ParticleTable
from cryodrake.physics.fsc import fsc
from cryodrake.physics.masks import sphere

BOX, PIXEL_A, K = 24, 5.0, 4
PERFECT = (BOX / 2 - 1) / BOX
STATE = np.random.default_rng(0).permutation(np.repeat(np.arange(K), [40, 30, 20, 10]))


def atoms(state):
    """A body that stays and an arm that moves along x."""
    rng = np.random.default_rng(4)
    body = rng.normal(size=(60, 3)) * [9, 14, 11]
    arm = rng.normal(size=(25, 3)) * 4 + [10.0 + 6 * state, 22, -14]
    return torch.from_numpy(np.concatenate([body, arm])).float()


@pytest.fixture(scope="module")
def truth(tmp_path_factory):
    folder = tmp_path_factory.mktemp("states") / "truth"
    (folder / "volumes").mkdir(parents=True)
    for state in range(K):
        density = gaussian_density(atoms(state), torch.ones(85), BOX, PIXEL_A, 12.0)
        write_map(folder / "volumes" / f"state_{state:03d}.mrc", density.numpy(), PIXEL_A)
    mask = torch.roll(sphere(BOX, 4.0, 3.0), (-3, 4, 4), (0, 1, 2))
    write_map(folder / "moving.mrc", mask.numpy(), PIXEL_A)
    np.save(folder / "state.npy", STATE)
    table = {"state": range(K), "name": list("abcd"), "coordinate": [0.0, 0.3, 0.6, 0.9], "n": [40, 30, 20, 10]}
    pd.DataFrame(table).to_csv(folder / "states.csv", index=False)
    return folder


@pytest.fixture(scope="module")
def map_(truth):
    """The mean density, turned, mirrored and moved by a known amount."""
    turn = torch.from_numpy(Rotation.from_euler("ZYZ", (20, 50, -70), degrees=True).as_matrix()).float()
    placed = AlignedMap(torch.zeros(BOX, BOX, BOX), PIXEL_A, Alignment(turn, True, torch.tensor([1.0, -0.5, 0.3]), 1.0, 0.0))
    return AlignedMap(placed.bring(true_map(truth)[0], PIXEL_A), PIXEL_A, placed.alignment)


def states_in_place(truth, map_):
    paths = sorted((truth / "volumes").glob("*.mrc"))
    return torch.stack([map_.bring(torch.from_numpy(read_map(path)[0]), PIXEL_A) for path in paths])


def test_a_decoder_of_the_true_maps_is_perfect_and_the_static_map_is_not(truth, map_):
    true = states_in_place(truth, map_)
    curves = image_curves(Decoder(lambda z: true[z[:, 0].long()], PIXEL_A, "the truth"), STATE[:, None] * 1.0, STATE, map_, truth)
    assert auc(curves.decoded) == pytest.approx(np.full(100, PERFECT), abs=1e-4)
    assert auc(curves.decoded_moving) == pytest.approx(np.full(100, PERFECT), abs=1e-4)
    static = [cryobench_auc(fsc(map_.density, volume)) for volume in true]
    assert auc(curves.static) == pytest.approx(np.array(static)[STATE[curves.rows]])
    assert auc(curves.static).mean() < PERFECT - 0.01
    assert auc(curves.static_moving).mean() < auc(curves.static).mean() - 0.02  # nearly all that moves is in the mask


def test_a_decoder_of_the_mean_gives_the_static_numbers(truth, map_):
    mean = map_.density
    curves = image_curves(
        Decoder(lambda z: mean.expand(len(z), -1, -1, -1), PIXEL_A, "mean"), STATE[:, None] * 1.0, STATE, map_, truth
    )
    assert torch.allclose(curves.decoded, curves.static, atol=1e-4)
    assert torch.allclose(curves.decoded_moving, curves.static_moving, atol=1e-4)


def test_states_are_not_aligned_one_by_one(truth, map_):
    """A decoder whose maps are all moved by two voxels is as wrong as that: the shift is not taken out."""
    moved = torch.roll(states_in_place(truth, map_), 2, 1)
    curves = image_curves(Decoder(lambda z: moved[z[:, 0].long()], PIXEL_A, "moved"), STATE[:, None] * 1.0, STATE, map_, truth)
    assert auc(curves.decoded).max() < 0.7 * PERFECT


def test_a_decoder_on_a_finer_grid_is_brought_to_the_maps(truth, map_):
    true = states_in_place(truth, map_)
    padded = torch.zeros(K, BOX + 8, BOX + 8, BOX + 8)
    padded[:, 4:-4, 4:-4, 4:-4] = true
    curves = image_curves(Decoder(lambda z: padded[z[:, 0].long()], PIXEL_A, "padded"), STATE[:, None] * 1.0, STATE, map_, truth)
    assert auc(curves.decoded).min() > 0.98 * PERFECT


def test_images_are_evenly_spaced_over_the_states():
    rows = evenly_spaced(np.repeat([2, 0, 1], [500, 300, 200]), 10)  # the middle of each tenth, state 0 first
    assert rows.tolist() == [550, 650, 750, 850, 950, 50, 150, 250, 350, 450]
    assert len(evenly_spaced(np.array([1, 0, 1]))) == 3


def test_classes_and_their_maps_are_a_job_with_states(tmp_path, truth):
    """From files to JSON: half of one class's images sit in another class, which has a map of its own state."""
    (tmp_path / "maps" / "states").mkdir(parents=True)
    write_map(tmp_path / "maps" / "consensus.mrc", true_map(truth)[0].numpy(), PIXEL_A)
    label = np.array([2, 0, 3, 1])  # of each state: names of classes are arbitrary
    for state in range(K):
        volume, _ = read_map(truth / "volumes" / f"state_{state:03d}.mrc")
        write_map(tmp_path / "maps" / "states" / f"state_{label[state]:02d}.mrc", volume, PIXEL_A)
    classes = label[STATE]
    wrong = np.flatnonzero(STATE == 0)[:20]
    classes[wrong] = label[1]
    np.save(tmp_path / "classes.npy", classes)
    result = evaluate(EvaluateConfig(job=tmp_path, truth=truth.parent))
    found = result.states
    assert found.share_in_right_class == pytest.approx(0.8)
    assert found.image_auc_median == pytest.approx(PERFECT, abs=0.02)
    assert found.image_auc_mean < found.image_auc_median
    assert found.image_auc_mean > found.static_auc_mean
    assert found.state_auc[1] == pytest.approx(PERFECT, abs=0.02)
    assert found.state_auc[0] < found.state_auc[1] - 0.005
    assert len(found.state_fsc[0]) == BOX // 2 + 1
    assert found.neighbour_share is None
    again = json.loads(result.to_json())
    assert again["states"]["share_in_right_class"] == found.share_in_right_class
    assert "in the right class: 80.0%" in result.summary()
    assert "states gain" in result.summary()


def particles(folder, rows, rotations):
    """particles.star of these images of one stack."""
    table = ParticleTable(
        np.full(len(rows), PIXEL_A), np.zeros(len(rows), int), np.full(len(rows), BOX), rotations=rotations.astype(np.float64)
    )
    folder.mkdir(parents=True, exist_ok=True)
    write_new_star(folder / "particles.star", table, ("a.mrcs",), np.zeros(len(rows), int), rows)


@pytest.fixture(scope="module")
def classes_job(truth, tmp_path_factory):
    """Four classes, each in a frame of its own with the map of one state; half of state 0's images are in the class of state 1,
    and the second class's poses are right up to C2."""
    job = tmp_path_factory.mktemp("classes") / "job"
    rng = np.random.default_rng(6)
    true = Rotation.random(len(STATE), rng=rng).as_matrix()
    particles(truth, np.arange(len(STATE)), true)
    particles(job, np.arange(len(STATE)), true)
    of_class = STATE.copy()
    of_class[np.flatnonzero(STATE == 0)[:20]] = 1
    np.save(job / "classes.npy", of_class)
    for c in range(K):
        folder, rows = job / "classes" / f"class_{c + 1:02d}", np.flatnonzero(of_class == c)
        a = Rotation.random(rng=rng).as_matrix()
        (folder / "maps").mkdir(parents=True)
        volume, _ = read_map(truth / "volumes" / f"state_{c:03d}.mrc")
        placed = move(torch.from_numpy(volume), Alignment(torch.from_numpy(a).float(), False, torch.zeros(3), 1.0, 0.0))
        write_map(folder / "maps" / "consensus.mrc", placed.numpy(), PIXEL_A)
        turn = Rotation.from_rotvec(np.pi * np.outer(np.arange(len(rows)) % 2 * (c == 1), [0, 0, 1])).as_matrix()
        particles(folder, rows, true[rows] @ turn @ a)
    return job


@pytest.fixture(scope="module")
def classes_result(classes_job, truth):
    return evaluate(EvaluateConfig(job=classes_job, truth=truth.parent))


def test_an_image_is_scored_by_the_map_of_its_class(classes_result, truth):
    """Each class lies in its own place, and what is known of every image is what the true maps say of each other."""
    volumes = [torch.from_numpy(read_map(truth / "volumes" / f"state_{s:03d}.mrc")[0]) for s in range(K)]
    mistaken = cryobench_auc(fsc(within_ball(volumes[1]), volumes[0]))
    result, found = classes_result, classes_result.states
    assert found.images == 100
    assert found.state_auc[1:] == pytest.approx([PERFECT] * 3, abs=0.01)
    assert found.state_auc[0] == pytest.approx((PERFECT + mistaken) / 2, abs=0.025)  # a class of two states lies between them
    assert found.image_auc_mean == pytest.approx(0.8 * PERFECT + 0.2 * mistaken, abs=0.01)
    assert found.image_auc_moving_mean < found.image_auc_mean
    assert found.static_auc_mean is None  # the map of a class is what there is
    parts = [part.states for part in result.classes]
    assert [part.images for part in parts] == [20, 50, 20, 10]
    assert parts[1].image_auc_mean == pytest.approx(0.6 * PERFECT + 0.4 * mistaken, abs=0.02)
    assert parts[1].state_auc[2:] == (None, None)
    assert parts[2].image_auc_mean == pytest.approx(PERFECT, abs=0.01)
    assert "each by the job of its class" in result.summary()
    assert "(state_003)" in result.summary()
    assert "gain" not in result.summary()
    assert json.loads(result.to_json())["states"]["state_auc"] == list(found.state_auc)


def test_classes_with_states_are_scored_at_their_latents(classes_job, classes_result, truth, tmp_path):
    """Class 2 knows which of its images are of state 0: in its frame it has their map too."""
    job = shutil.copytree(classes_job, tmp_path / "job")
    folder, rows = job / "classes" / "class_02", np.flatnonzero(np.load(job / "classes.npy") == 1)
    placed = Alignment(torch.tensor(classes_result.classes[1].global_rotation), False, torch.zeros(3), 1.0, 0.0)
    (folder / "maps" / "states").mkdir()
    for s in range(2):
        volume = move(torch.from_numpy(read_map(truth / "volumes" / f"state_{s:03d}.mrc")[0]), placed)
        write_map(folder / "maps" / "states" / f"state_{s:02d}.mrc", volume.numpy(), PIXEL_A)
    np.savetxt(folder / "maps" / "states" / "z_values.txt", [[0.0], [1.0]])
    np.save(folder / "latents.npy", STATE[rows, None].astype(np.float32))
    better = evaluate(EvaluateConfig(job=job, truth=truth.parent)).states
    assert better.image_auc_mean > better.static_auc_mean + 0.005
    assert better.static_auc_mean == pytest.approx(classes_result.states.image_auc_mean, abs=1e-6)


def test_each_class_has_its_symmetry(classes_job, truth, tmp_path):
    job = shutil.copytree(classes_job, tmp_path / "job", ignore=shutil.ignore_patterns("maps"))

    def p90_deg(*symmetry):
        found = evaluate(EvaluateConfig(job=job, truth=truth.parent, symmetry=symmetry)).classes
        return [part.rotation_error_p90_deg for part in found]

    own, one = p90_deg("C1", "C2", "C1", "C1"), p90_deg("C1")
    assert max(own) < 3
    assert one[1] > 150
    assert max(p90_deg("C2")) < 3
    with pytest.raises(InputError, match="2 point groups for 4 classes"):
        p90_deg("C1", "C2")
    with pytest.raises(InputError, match="2 point groups for one structure"):
        evaluate(EvaluateConfig(job=job / "classes" / "class_01", truth=truth.parent, symmetry=("C1", "C2")))


def test_a_class_without_its_map_job_or_latents_is_said(classes_job, truth, map_, tmp_path):
    folder, classes = tmp_path / "class_01", np.load(classes_job / "classes.npy")
    parts = [ClassMap(classes_job / "classes" / f"class_{c + 1:02d}", None if c == 2 else map_) for c in range(K)]
    found = evaluate_states(classes_job, truth, None, None, None, parts)
    assert found.image_auc_mean is None
    assert found.notes == ("Maps of states were not compared: class_03 has no map to align.",)
    with pytest.raises(InputError, match="class 5 has no job"):
        curves_of_classes(parts, classes + 1, STATE, truth)
    folder.mkdir()
    np.save(folder / "latents.npy", np.zeros((19, 1)))
    with pytest.raises(InputError, match=r"latents\.npy: has 19 rows"):
        curves_of_classes([ClassMap(folder, map_), *parts[1:]], classes, STATE, truth)


def test_latents_choose_the_map_of_the_nearest_class(tmp_path):
    (tmp_path / "maps" / "states").mkdir(parents=True)
    for i in range(3):
        for name in (f"state_{i:02d}.mrc", f"state_{i:02d}_half1_unfil.mrc"):
            write_map(tmp_path / "maps" / "states" / name, np.full((4, 4, 4), i, np.float32), 2.0)
    classes = np.array([0, 0, 2, 2])
    latents = np.array([[0.0, 1.0], [0.0, -1.0], [9.0, 1.0], [7.0, 1.0]])
    decoder = open_decoder(tmp_path, latents, classes)
    maps = decoder.decode(torch.tensor([[1.0, 0.0], [6.0, 0.0]]))
    assert maps[:, 0, 0, 0].tolist() == [0, 2]
    assert decoder.pixel_size_A == 2.0
    assert open_decoder(tmp_path, latents, None) is None
    np.savetxt(tmp_path / "maps" / "states" / "z_values.txt", [[9, 9], [0, 0], [5, 5]])  # where states are no classes
    by_state = open_decoder(tmp_path, latents, None)
    assert by_state.decode(torch.tensor([[1.0, 0.0], [6.0, 6.5]]))[:, 0, 0, 0].tolist() == [1, 2]
    np.savetxt(tmp_path / "maps" / "states" / "z_values.txt", [[9, 9], [0, 0]])
    with pytest.raises(InputError, match="expected: 3 of 2"):
        open_decoder(tmp_path, latents, None)
    with pytest.raises(InputError, match=r"class 4 has no map\n  expected: state_03\.mrc"):
        open_decoder(tmp_path, latents, classes + 1)


def test_the_coordinate_of_states_csv_is_compared_with_the_latents(tmp_path, truth):
    np.save(tmp_path / "latents.npy", np.stack([STATE, 0 * STATE], axis=1).astype(np.float32))
    found = evaluate_states(tmp_path, truth, None, None, None)
    assert found.is_circle is False
    assert found.coordinate_r2 > 0.95
    assert found.pc_correlation == pytest.approx(1)
    assert found.neighbour_share > 0.8  # states of 10 and 20 have not 20 others
    assert found.kmeans_ari == pytest.approx(1)
    assert found.image_auc_mean is None
    assert "no map to align" in found.notes[0]
    assert any("well" in line for line in found.words())


def test_a_full_circle_is_judged_as_one():
    rng = np.random.default_rng(5)
    state = rng.integers(0, 24, 2000)
    angle_deg = 15.0 * np.arange(24)
    angle = np.deg2rad(angle_deg[state])
    latents = np.stack([np.cos(angle), np.sin(angle)], axis=1) + 0.05 * rng.normal(size=(2000, 2))
    found = score_latents(latents, state, angle_deg)
    assert found["is_circle"] is True
    assert found["coordinate_r2"] > 0.98
    assert found["pc_correlation"] > 0.98
    assert found["circle_gap"] < 1.5


def test_rows_are_those_of_the_job_and_poses_are_counted_per_state(tmp_path, truth):
    rows = np.arange(100)[::-1]
    np.save(tmp_path / "classes.npy", STATE[rows])
    error_deg = STATE[rows] * 2.0
    error_deg[np.flatnonzero(STATE[rows] == 3)[:4]] = 170  # a minority does not move a median
    found = evaluate_states(tmp_path, truth, None, rows, error_deg)
    assert found.share_in_right_class == 1
    assert found.state_rotation_error_median_deg == (0, 2, 4, 6)
    assert found.state_n == (40, 30, 20, 10)


def test_groups_are_compared_with_the_true_states(tmp_path, truth):
    """The two smallest states in one group: pairs of these 30 alone are wrong."""
    np.save(tmp_path / "groups.npy", np.minimum(STATE, 2))
    found = evaluate_states(tmp_path, truth, None, None, None)
    assert found.n_groups == 3
    assert found.groups_ari == pytest.approx(adjusted_rand_score(STATE, np.minimum(STATE, 2)))
    assert 0.8 < found.groups_ari < 1
    assert "groups that the run found: 3; adjusted Rand index 0." in " ".join(found.words())


def test_one_state_has_no_states(tmp_path):
    (tmp_path / "volumes").mkdir()
    write_map(tmp_path / "volumes" / "state_000.mrc", np.ones((4, 4, 4), np.float32), 1.0)
    assert evaluate_states(tmp_path, tmp_path, None, None, None) is None
    assert json.loads(EvaluationResult(n=3).to_json())["states"] is None


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("latents.npy", np.zeros((99, 2), np.float32), "has 99 rows"),
        ("latents.npy", np.zeros(100, np.float32), r"expected: numbers \(n, zdim\)"),
        ("latents.npy", np.full((100, 2), np.nan, np.float32), "row 0: values that are not finite"),
        ("classes.npy", np.zeros(100, np.float32), "whole numbers"),
        ("groups.npy", np.arange(99), "has 99 rows"),
        ("groups.npy", np.full(100, -1), r"whole numbers \(n,\), from 0"),
        ("classes.npy", b"nonsense", "cannot be read"),
    ],
)
def test_what_does_not_fit_is_said(tmp_path, truth, name, content, message):
    if isinstance(content, bytes):
        (tmp_path / name).write_bytes(content)
    else:
        np.save(tmp_path / name, content)
    with pytest.raises(InputError, match=message):
        evaluate_states(tmp_path, truth, None, None, None)


def test_within_ball_is_what_decoded_maps_are_seen_in(truth, map_):
    """Corners of Fourier space, which no image says anything of, cost nothing."""
    true = states_in_place(truth, map_)
    corners = torch.randn(K, BOX, BOX, BOX, generator=torch.Generator().manual_seed(0)) * true.std()
    corners = torch.stack([noise - within_ball(noise) for noise in corners])
    decoder = Decoder(lambda z: (true + corners)[z[:, 0].long()], PIXEL_A, "with corners")
    assert auc(image_curves(decoder, STATE[:, None] * 1.0, STATE, map_, truth).decoded).min() > PERFECT - 1e-3
