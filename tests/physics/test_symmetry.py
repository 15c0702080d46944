"""Point groups: their orders, closure, axes, the identity first, and the same matrices as RELION's own program has."""

import re
import shutil
import subprocess

import pytest
import torch

from cryodrake.physics.rotations import geodesic_deg
from cryodrake.physics.symmetry import operators


def nearest(some, others):
    """Distance from each matrix to the nearest of the others."""
    exact = "donot_use_mm_for_euclid_dist"
    return torch.cdist(some.flatten(1).double(), others.flatten(1).double(), compute_mode=exact).min(1).values


@pytest.mark.parametrize(
    ("group", "order"), [("C1", 1), ("C4", 4), ("C7", 7), ("D2", 4), ("D7", 14), ("T", 12), ("O", 24), ("I", 60), ("I1", 60)]
)
def test_orders_and_closure(group, order):
    matrices = operators(group)
    assert matrices.shape == (order, 3, 3)
    torch.testing.assert_close(matrices[0], torch.eye(3))
    torch.testing.assert_close(torch.linalg.det(matrices), torch.ones(order), atol=1e-5, rtol=0)
    products = (matrices[:, None] @ matrices[None]).flatten(0, 1)
    assert float(nearest(products, matrices).max()) < 1e-5  # every product is a member
    for i in range(1, order):  # and no member is there twice
        assert float(nearest(matrices[i : i + 1], matrices[:i])) > 0.1


@pytest.mark.parametrize(("group", "fold"), [("C3", 3), ("C6", 6), ("D4", 4)])
def test_the_main_axis_is_z(group, fold):
    turn = torch.tensor(2 * torch.pi / fold)
    about_z = torch.tensor([[turn.cos(), -turn.sin(), 0], [turn.sin(), turn.cos(), 0], [0, 0, 1]])
    assert float((operators(group) - about_z).flatten(1).norm(dim=1).min()) < 1e-5


def has(group, axis, angle_deg):
    """Whether the group has a turn of angle_deg about the axis."""
    axis = torch.tensor(axis) / torch.tensor(axis).norm()
    for matrix in operators(group):
        keeps = (matrix @ axis - axis).norm() < 1e-4
        if keeps and abs(float(geodesic_deg(matrix, torch.eye(3))) - angle_deg) < 1e-2:
            return True
    return False


def test_settings_are_relions():
    """RELION's table of point groups. D: two-fold on x; O: four-folds on x, y, z; I1: two-folds on x, y, z; T: three-fold on z."""
    assert has("D2", [1.0, 0, 0], 180)
    assert has("D7", [1.0, 0, 0], 180)
    for axis in ([1.0, 0, 0], [0, 1.0, 0], [0, 0, 1.0]):
        assert has("O", axis, 90)
        assert has("I", axis, 180)
    assert has("T", [0, 0, 1.0], 120)


@pytest.mark.skipif(shutil.which("relion_refine") is None, reason="RELION is not installed")
@pytest.mark.parametrize(("ours", "theirs"), [("C3", "C3"), ("D2", "D2"), ("D7", "D7"), ("T", "T"), ("O", "O"), ("I", "I1")])
def test_relion_has_the_same_matrices(ours, theirs):
    said = subprocess.run(["relion_refine", "--sym", theirs, "--print_symmetry_ops"], check=True, capture_output=True, text=True)
    rows = [line for line in said.stdout.splitlines() if re.fullmatch(r"[\s\d.e+-]+", line) and len(line.split()) == 3]
    matrices = torch.tensor([[float(word) for word in line.split()] for line in rows]).view(-1, 3, 3)
    assert len(matrices) == len(operators(ours))
    assert float(nearest(matrices, operators(ours)).max()) < 1e-4  # printed to five figures


def test_names_are_read_leniently_and_nonsense_is_refused():
    assert torch.equal(operators(" d2 "), operators("D2"))
    assert torch.equal(operators("i1"), operators("I"))
    for name in ("", "X", "C0", "C", "D-2", "I3", "C2v"):
        with pytest.raises(ValueError, match="none of"):
            operators(name)
