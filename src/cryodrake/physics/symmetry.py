"""Point groups in the standard setting of RELION and cryoSPARC (main axis on z): Cn, Dn, T, O, I (I1)."""

import re

import torch
from jaxtyping import Float
from scipy.spatial.transform import Rotation
from torch import Tensor


def operators(group: str) -> Float[Tensor, "m 3 3"]:
    """Rotation matrices of a point group, identity first.

    Raises:
        ValueError: the name is none of C<n>, D<n>, T, O, I.
    """
    name = group.strip().upper()
    if not re.fullmatch(r"[CD][1-9]\d*|T|O|I1?", name):
        raise ValueError(f"symmetry {group!r} is none of C1, C2 …, D2 …, T, O, I")
    if name in ("I1", "T", "O"):
        name = name[0]
    matrices = torch.from_numpy(Rotation.create_group(name).as_matrix()).float()
    if name == "T":  # scipy has two-fold axes on x, y and z, RELION a three-fold on z
        turn = torch.tensor([[-3.0, 3.0, 0.0], [-1.0, -1.0, 2.0], [2.0, 2.0, 2.0]])
        turn = turn / turn.norm(dim=1, keepdim=True)
        matrices = turn @ matrices @ turn.T
    order = torch.argsort((matrices - torch.eye(3)).flatten(1).norm(dim=1), stable=True)
    return matrices[order]
