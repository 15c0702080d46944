"""How an image changes with its pose, as further columns of the linear model of its state (`inference.states`).

An image whose pose is a little off looks like one of another state. With these columns the state is inferred with the pose
integrated out over its surroundings, to first order: what could be either counts for neither.
"""

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from cryodrake.inference.likelihood import shift_phases
from cryodrake.inference.source import AbstractImages
from cryodrake.inference.states import States, component_columns, infer_states
from cryodrake.physics.ball_grid import BallGrid
from cryodrake.physics.blocks import at_once
from cryodrake.physics.rotations import axis_angle_to_matrix
from cryodrake.physics.slices import slice_ball

POINTS_PER_BLOCK = 1 << 17


def infer_about_poses(
    images: AbstractImages,
    rows: Int64[Tensor, " n"],
    rotation: Float[Tensor, "n 3 3"],
    shift_px: Float[Tensor, "n 2"],
    ball: Float[Tensor, "v r2"],
    grid: BallGrid,
) -> States:
    """The states of these images, a few at a time, from the components rasterised on `grid`; poses integrated out about these."""
    kxy = images.disc.kxy[: images.disc.count(grid.radius)]
    step = max(1, at_once(POINTS_PER_BLOCK, kxy.device) // len(kxy))
    parts = []
    for i in range(0, len(rows), step):
        block = slice(i, i + step)
        matched, weight = images.matched(rows[block], len(kxy))
        centred = matched * shift_phases(shift_px[block], kxy, images.disc.box)
        columns = component_columns(slice_ball(ball, grid, rotation[block], kxy))
        at_pose = infer_states(centred, weight, columns)
        moves = pose_columns(ball, grid, rotation[block], kxy, at_pose.weights, columns)
        parts.append(infer_states(centred, weight, columns, moves))
    return States.cat(parts)


def pose_columns(
    ball: Float[Tensor, "v r2"],
    grid: BallGrid,
    rotation: Float[Tensor, "b 3 3"],
    kxy: Float[Tensor, "k 2"],
    coefficients: Float[Tensor, "b r"],
    columns: Float[Tensor, "b r k2"],
) -> Float[Tensor, "b 5 k2"]:
    """Changes of the slices of Σ_r a_r B_r, for turns about the three axes and shifts along two, by a standard deviation each.

    That is what detail at the grid's radius distinguishes, one radian of its phase: a turn by 1/radius, a shift by
    box/(2π radius). Turns are differences over that much, so that the interpolant's kinks do not matter.

    Args:
        coefficients, columns: a, and the slices of the components.
    """
    out = columns.new_empty(len(rotation), 5, columns.shape[2])
    for axis, half in enumerate(torch.eye(3, device=ball.device) / (2 * grid.radius)):
        forward, back = (slice_ball(ball, grid, axis_angle_to_matrix(turn) @ rotation, kxy) for turn in (half, -half))
        out[:, axis] = torch.einsum("br,brk->bk", coefficients, component_columns(forward - back))
    re, im = torch.einsum("br,brk->bk", coefficients, columns).unflatten(1, (-1, 2)).unbind(2)
    for axis in (0, 1):  # i k·s of the phase
        phase = kxy[:, axis] / grid.radius
        out[:, 3 + axis] = torch.stack([-phase * im, phase * re], 2).flatten(1)
    return out
