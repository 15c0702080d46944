"""Two maps of the same thing, brought onto each other: rotation, shift and hand, found by exhaustive search.

An alignment says how map and truth are related: with B = A (same hand) or A·diag(1, 1, -1) (opposite hand),

    map(k) = truth(B k) · exp(-2πi k·o/d)        A a rotation, o the offset (x, y, z) in voxels of the map.

Images cannot tell the hands apart: a map with poses (R, t) and its mirror image with (P R P, t), P = diag(1, 1, -1),
give the same projections, because P leaves the image plane as it is: (P R P)ᵀ(kx, ky, 0) = P Rᵀ(kx, ky, 0).
"""

from dataclasses import dataclass
from typing import NamedTuple

import roma
import torch
from jaxtyping import Bool, Complex, Float
from torch import Tensor

from cryodrake.physics.ball_grid import BallGrid
from cryodrake.physics.fourier import coeff_to_volume, volume_to_coeff
from cryodrake.physics.grids import all_rotations
from cryodrake.physics.masks import sphere
from cryodrake.physics.slices import raster

MIRROR = torch.diag(torch.tensor([1.0, 1.0, -1.0]))
_COARSE_ORDER = 2  # 4608 rotations, 15°: fine enough for the coarse radius
_COARSE_RADIUS = 7.0
_COARSE_LATTICE = 16  # shifts on this many points an axis: all of them that frequencies up to 7 tell apart
_KEPT = 12  # candidates of each hand that are refined
_ROTATIONS_PER_CHUNK = 512


class _Stage(NamedTuple):
    """One ascent; `first_step` is the change of phase, in radians at the outermost frequency, that it starts with."""

    radius: float
    first_step: float
    n_steps: int
    kept: int


_STAGES = (_Stage(9.0, 1.0, 40, 3), _Stage(16.0, 0.25, 30, 1), _Stage(32.0, 0.08, 20, 1))


@dataclass(frozen=True, eq=False)
class Alignment:
    """How map and truth are related (see the module's equation).

    Attributes:
        rotation: A.
        mirrored: the map has the opposite hand.
        offset_px: o.
        score: mean FSC up to radius 16 of map and truth in this hand; `other_score` the same in the other hand.
    """

    rotation: Float[Tensor, "3 3"]
    mirrored: bool
    offset_px: Float[Tensor, " 3"]
    score: float
    other_score: float

    @property
    def matrix(self) -> Float[Tensor, "3 3"]:
        """B."""
        return self.rotation @ MIRROR if self.mirrored else self.rotation


class FourierSampler:
    """A map's transform at any frequency, by trilinear interpolation of an oversampled, gridding-corrected lattice."""

    def __init__(self, volume: Float[Tensor, "d d d"], radius: float):
        self.box = volume.shape[-1]
        grid = BallGrid(self.box, radius, 3 if self.box <= 96 else 2)
        half = torch.view_as_complex(raster(volume, grid).contiguous()).reshape(grid.shape)[:, :, : grid.half + 1]
        # The other half is the conjugate at -k; z and y run symmetrically, so flipping all axes negates k.
        full = torch.cat([half[:, :, 1:].flip(0, 1, 2).conj(), half], dim=2)
        self.cube = torch.view_as_real(full).permute(3, 0, 1, 2).contiguous()[None]
        self.scale = grid.oversampling / grid.half

    def __call__(self, points: Float[Tensor, "*b 3"]) -> Complex[Tensor, "*b"]:
        """Values at (x, y, z) in cycles per box; differentiable in the points."""
        where = (points * self.scale).reshape(1, 1, 1, -1, 3)
        values = torch.nn.functional.grid_sample(self.cube, where, align_corners=True)
        return torch.complex(values[0, 0], values[0, 1]).reshape(points.shape[:-1])


@dataclass(frozen=True, eq=False)
class _Ball:
    """Half of the lattice points 0 < |k| < radius with a map's coefficients there."""

    k: Float[Tensor, "p 3"]
    shell: Tensor
    map: Complex[Tensor, " p"]

    @classmethod
    def of(cls, coeff: Complex[Tensor, "d d d"], radius: float) -> "_Ball":
        k, _ = lattice(coeff.shape[-1])
        (x, y, z), length = k.unbind(-1), k.norm(dim=-1)
        half = (x > 0) | ((x == 0) & ((y > 0) | ((y == 0) & (z > 0))))
        keep = half & (length < radius)
        return cls(k[keep], length[keep].round().long(), coeff[keep])

    def per_shell(self, values: Float[Tensor, "*b p"]) -> Float[Tensor, "*b s"]:
        n = int(self.shell.max()) + 1
        return values.new_zeros(*values.shape[:-1], n).index_add_(-1, self.shell, values)

    def correlation(self, moved: Complex[Tensor, "b p"]) -> Float[Tensor, "b s"]:
        """FSC of the map and each moved truth."""
        cross = self.per_shell((self.map * moved.conj()).real)
        power = self.per_shell(self.map.abs() ** 2) * self.per_shell(moved.abs() ** 2)
        return cross / power.clamp(min=1e-30).sqrt()


@dataclass(frozen=True, eq=False)
class _Places:
    """Candidates, best first."""

    rotation: Float[Tensor, "c 3 3"]
    offset_px: Float[Tensor, "c 3"]
    score: Float[Tensor, " c"]


def align(map_: Float[Tensor, "d d d"], truth: Float[Tensor, "d d d"]) -> Alignment:
    """The alignment of two maps on the same grid, from any start, to a small part of a degree and of a voxel.

    All of a 15° grid of rotations × all shifts × both hands are compared at low frequency; the best few of each hand
    are refined by ascending the frequency-weighted correlation, then the better hand at full radius.
    """
    box = map_.shape[-1]
    limit = 0.95 * box / 2
    coeff = volume_to_coeff(map_ * sphere(box, 0.42 * box, 0.08 * box))
    balls = [_Ball.of(coeff, min(radius, limit)) for radius in (_COARSE_RADIUS, *(stage.radius for stage in _STAGES))]
    sampler = FourierSampler(truth, min(_STAGES[-1].radius, limit) + 1)
    hands = []
    for mirrored in (False, True):
        frame = MIRROR if mirrored else torch.eye(3)
        places = _search(balls[0], sampler, frame)
        for ball, stage in zip(balls[1:3], _STAGES[:2], strict=True):
            places = _ascend(ball, sampler, frame, places, stage)
        hands.append(places)
    mirrored = bool(hands[1].score[0] > hands[0].score[0])
    best, other = hands[mirrored], hands[not mirrored]
    final = _ascend(balls[3], sampler, MIRROR if mirrored else torch.eye(3), best, _STAGES[2])
    return Alignment(final.rotation[0], mirrored, final.offset_px[0], float(best.score[0]), float(other.score[0]))


def _search(ball: _Ball, sampler: FourierSampler, frame: Float[Tensor, "3 3"]) -> _Places:
    """The best rotations of the grid for one hand, each with its best shift of a coarse lattice."""
    rotations = all_rotations(_COARSE_ORDER)
    n = _COARSE_LATTICE
    weight = _whitening(ball, sampler, frame)
    x, y, z = ball.k.long().unbind(1)
    cell = ((z % n) * n + y % n) * (n // 2 + 1) + x
    scores, places = [], []
    for chunk in rotations.split(_ROTATIONS_PER_CHUNK):
        moved = sampler(ball.k @ (chunk @ frame).transpose(1, 2))
        product = ball.map * moved.conj() * weight
        lattice = product.new_zeros(len(chunk), n * n * (n // 2 + 1))
        # Modulo the lattice -k_z wraps round as the inverse transform expects; x >= 0 always.
        lattice[:, cell] = product
        # On the plane x = 0 only one of k, -k is in the ball; irfftn wants both.
        plane = x == 0
        mate = (((-z) % n) * n + (-y) % n) * (n // 2 + 1)
        lattice[:, mate[plane]] = product[:, plane].conj()
        # Correlation with the truth moved by o is Re Σ product · exp(+2πi k·o/d): an inverse transform.
        correlation = torch.fft.irfftn(lattice.view(-1, n, n, n // 2 + 1), s=(n, n, n), dim=(1, 2, 3)).flatten(1)
        score, place = correlation.max(1)
        scores.append(score)
        places.append(place)
    score, place = torch.cat(scores), torch.cat(places)
    best = torch.topk(score, _KEPT).indices
    at = torch.stack([place[best] % n, place[best] // n % n, place[best] // n**2], 1)
    at = torch.where(at >= n // 2, at - n, at)
    return _Places(rotations[best], at.float() * sampler.box / n, score[best])


def _whitening(ball: _Ball, sampler: FourierSampler, frame: Float[Tensor, "3 3"]) -> Float[Tensor, " p"]:
    """1/(rms of map × rms of truth) in each point's shell: every shell counts by its number of points."""
    truth = sampler(ball.k @ frame.T)
    count = ball.per_shell(torch.ones_like(ball.k[:, 0]))
    power = ball.per_shell(ball.map.abs() ** 2) * ball.per_shell(truth.abs() ** 2)
    return (count / power.sqrt().clamp(min=1e-30))[ball.shell]


def _ascend(ball: _Ball, sampler: FourierSampler, frame: Float[Tensor, "3 3"], start: _Places, stage: _Stage) -> _Places:
    """Adam on rotation vector and shift together, in units in which both move the outermost phases alike.

    Maximised is the mean of the FSC over shells, weighted by points × the FSC so far (a shell of noise does not vote).
    Steps shrink to 1 %. The best `stage.kept` places are returned, best first.
    """
    box = sampler.box
    step = torch.zeros(len(start.rotation), 6, requires_grad=True)
    first = stage.first_step / stage.radius
    adam = torch.optim.Adam([step], lr=first, betas=(0.8, 0.95))
    count = ball.per_shell(torch.ones_like(ball.k[:, 0]))

    def place() -> tuple[Tensor, Tensor, Tensor]:
        rotation = roma.rotvec_to_rotmat(step[:, :3]) @ start.rotation
        offset = start.offset_px + step[:, 3:] * (box / (2 * torch.pi))
        phase = -2 * torch.pi / box * (offset @ ball.k.T)
        truth = sampler(ball.k @ (rotation @ frame).transpose(1, 2))
        return rotation, offset, ball.correlation(truth * torch.polar(torch.ones_like(phase), phase))

    for i in range(stage.n_steps):
        curve = place()[2]
        weight = count * curve.detach().clamp(min=0.05)
        loss = -((curve * weight).sum(1) / weight.sum(1)).sum()
        adam.zero_grad()
        loss.backward()
        for group in adam.param_groups:
            group["lr"] = first * 0.01 ** (i / stage.n_steps)
        adam.step()
    with torch.no_grad():
        rotation, offset, curve = place()
    score = curve[:, 1:].mean(1)
    kept = torch.argsort(score, descending=True)[: stage.kept]
    return _Places(rotation[kept], offset[kept], score[kept])


def move(volume: Float[Tensor, "d d d"], alignment: Alignment) -> Float[Tensor, "d d d"]:
    """The truth where the map is: volume(B k)·exp(-2πi k·o/d) for |k| < d/2, beyond which no image says anything."""
    box = volume.shape[-1]
    k, inside = lattice(box)
    phase = -2 * torch.pi / box * (k[inside] @ alignment.offset_px)
    values = FourierSampler(volume, box / 2)(k[inside] @ alignment.matrix.T)
    coeff = values.new_zeros(box, box, box)
    coeff[inside] = values * torch.polar(torch.ones_like(phase), phase)
    return coeff_to_volume(coeff)


def within_ball(volume: Float[Tensor, "d d d"]) -> Float[Tensor, "d d d"]:
    """The map without its corners of Fourier space, |k| >= d/2, as `move` leaves a truth."""
    return coeff_to_volume(volume_to_coeff(volume) * lattice(volume.shape[-1])[1])


def lattice(box: int) -> tuple[Float[Tensor, "d d d 3"], Bool[Tensor, "d d d"]]:
    """Frequencies (x, y, z), cycles per box, of a centred transform, and which are shorter than box/2."""
    axis = torch.arange(box, dtype=torch.float32) - box // 2
    z, y, x = torch.meshgrid(axis, axis, axis, indexing="ij")
    k = torch.stack([x, y, z], -1)
    return k, k.norm(dim=-1) < box / 2
