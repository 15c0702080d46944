"""States and poses together, from where the homogeneous refinement ended.

A round learns a linear model of the structures from all images at their present poses (`training.subspace`), makes its components
at full resolution, and poses each image anew against the map of its own state, made without that image's fold: the nearest of a
few anchor states, so that the search stays what it is for one structure. The first time, and again where that finds many
elsewhere, all images are searched over all poses, against one of very few anchors' maps; those that hold surprisingly little of
the map at their state, always, against each. The last round leaves poses as they are; it learns how states are distributed
(`inference.state_mixture`), takes each image's state for one of those, and learns the components anew from such states.

The first model is learned from half set 1, with components that are free and with those that stand out from noise, and judged by
half set 2: the one that makes images that it has not seen likelier is kept. Where it makes them no likelier than one structure
does, there is nothing to model, and the structure is called rigid.
"""

from collections.abc import Callable, Iterator
from functools import cached_property
from typing import final

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from cryodrake.data.coefficients import CoefficientStore
from cryodrake.inference import local, state_mixture
from cryodrake.inference.basins import nearest_deg
from cryodrake.inference.reference import Reference, box_for_radius, in_box
from cryodrake.inference.state_groups import groups_of, likeliest_groups
from cryodrake.inference.states import States
from cryodrake.inference.states_about_poses import infer_about_poses
from cryodrake.physics.ball_grid import BallGrid
from cryodrake.physics.masks import around
from cryodrake.physics.rotations import geodesic_deg
from cryodrake.physics.slices import raster
from cryodrake.training import refinement, searches
from cryodrake.training.anchors import anchors_of
from cryodrake.training.components import ComponentStep, as_references, component_step
from cryodrake.training.estimates import amplitudes_of
from cryodrake.training.events import AbstractReporter, stop_if_asked
from cryodrake.training.heap import give_back
from cryodrake.training.images import WeightedImages
from cryodrake.training.local_filter import band_noise
from cryodrake.training.solvent import EDGE, flatten_solvent, solvent_mask
from cryodrake.training.state import RunState
from cryodrake.training.subspace import SubspaceFit, canonical
from cryodrake.training.symmetry import mates, offsets_px

ROUNDS = 3  # in which images are posed anew, at most
SETTLED = 0.75  # median pose change, as a fraction of the expected error, after which they are not posed again
FITTED = 10000  # images that components are learned from
RADIUS = 16.0  # cycles per box, of what states are told by
GROWN = 3.0 / 64  # of the box, beyond the consensus: a moving part is blurred there
SURE = 3.0  # standard errors by which states must make unseen images likelier
POSED_ANCHORS = 24  # states that stand for all when images are posed
MIXED_AT_ONCE = 4
MIXED_STEPS = 2  # of components under the distribution of states
MATES_ASKED = 24  # mates that each image is tried at, over all rounds of one choice: eight of a threefold's
FEW_MATES = 0.01  # of the images that change to another one
SEARCHED_ANCHORS = 3  # and when they are searched over all poses
DOUBTFUL = -1.0  # standard deviations: an image that holds so little of the map, for its state, may be of another
LEAST_KNOWN = 0.2  # share of a coordinate's variance that is known
MANY_MOVED = 0.02  # of the images in a search of all, after which all are searched again


@final
class Conformations:
    """The rounds, over the run's state.

    `halves` are the half maps of the homogeneous refinement. `search_all`: whether the first round searches all poses of all
    images; otherwise only those that fit nowhere leave the surroundings of the poses they came with.
    """

    def __init__(
        self,
        store: CoefficientStore,
        state: RunState,
        reporter: AbstractReporter,
        halves: refinement.HalfMaps,
        particle_radius_px: float,
        seed: int,
        search_all: bool,
    ):
        self.store, self.state, self.reporter, self.halves, self.seed = store, state, reporter, halves, seed
        self.search_all = search_all
        box, device = store.box, store.device
        grown = around(halves.particle, 0.5, GROWN * box, EDGE * box)
        self.mask = torch.maximum(halves.particle, grown) * solvent_mask(box, particle_radius_px, device)
        self.label = refinement.fold_labels(state.half)
        self.everyone = torch.arange(store.n, device=device)

    @property
    def images(self) -> WeightedImages:
        return WeightedImages(self.store, self.state.noise, self.state.joint_scale)

    @property
    def radius(self) -> float:
        """Of what states are told by."""
        return min(RADIUS, refinement.seen_radius(self.halves.inside), self.store.box / 2)

    @cached_property
    def mean_noise(self) -> Float[Tensor, " b"]:
        """Of the mean, from the maps of half sets that have nothing in common."""
        return band_noise(torch.stack([flatten_solvent(volume, self.mask) for volume in self.halves.raw]), self.mask)

    def run(self, checkpoint: Callable[[], None], rounds: int) -> None:
        """At most `rounds` in which images are posed anew, until they hardly move, and a last one without.

        `checkpoint` is called after each.
        """
        state = self.state
        if state.gain is None:
            self.judge()
            checkpoint()
        while state.is_flexible and not self._is_done:
            self.round(last=len(state.rounds) == rounds or self._stands_still)
            checkpoint()

    @property
    def _is_done(self) -> bool:
        """Whether the last round was one that left the poses as they were."""
        return bool(self.state.rounds) and "median_pose_change_deg" not in self.state.rounds[-1]

    @property
    def _stands_still(self) -> bool:
        """Whether the last round moved poses by less than what they are uncertain by, where that is known, and few elsewhere."""
        rounds = self.state.rounds
        if not rounds or (self.search_all and self._moves):
            return False
        return rounds[-1]["median_pose_change_deg"] < SETTLED * float(self.state.sigma_deg.median())

    @property
    def _moves(self) -> bool:
        """Whether the last search of all images found many of them elsewhere, or there was none yet."""
        rounds = self.state.rounds
        return not rounds or rounds[-1].get("moved_share", 0.0) > MANY_MOVED

    def judge(self) -> None:
        """Learn from half set 1, ask half set 2; the first guess of the latents."""
        state = self.state
        self.reporter.phase("states 1", 2, "asking whether there are states")
        generator = torch.Generator().manual_seed(self.seed * 1000 + 700)
        guess = torch.randn(self.store.n, state.latents.shape[1], generator=generator).to(self.store.device)
        first, second = (self._some(torch.nonzero(state.half == h).squeeze(1), FITTED // 2) for h in (1, 2))
        fit = self._fit(first, guess, is_local=False)
        self.reporter.step(1)
        stop_if_asked(self.reporter, state.phase)
        likely, model = self._log_marginal(fit.volumes, fit.grid, second), fit.volumes
        fit.localise()
        of_local = self._log_marginal(fit.volumes, fit.grid, second)
        if float(of_local.mean()) > float(likely.mean()):
            state.is_local, likely, model = True, of_local, fit.volumes
        gain = likely - self._log_marginal(model[:1], fit.grid, second)
        state.gain = float(gain.mean())
        state.is_flexible = state.gain > SURE * float(gain.std()) / len(gain) ** 0.5
        if state.is_flexible:
            state.latents = self._infer(model, fit.grid).mean
        else:  # the prior: nothing is known of states, because there are none
            state.precision = torch.eye(state.latents.shape[1], device=self.store.device).expand_as(state.precision).clone()
        self.reporter.step(2, log_marginal_gain=state.gain)

    def round(self, last: bool) -> None:
        """The model from the present poses and then, unless it is the last round, poses from the model.

        Images are compared as far as the map of all of them is seen; what remains, of the last round, goes to the box's edge, as
        the consensus map does: there is something beyond, and filters know how little.
        """
        state = self.state
        self.reporter.phase(f"states {len(state.rounds) + 2}", 3, "learning the states")
        self._choose_mates()
        fit = self._fit(self._some(self.everyone, FITTED), state.latents, state.is_local)
        self.reporter.step(1)
        states = self._infer(fit.volumes, fit.grid)
        if last:
            for _ in range(MIXED_STEPS):
                among_others, _chance = state_mixture.under(self._distribution(states), states)
                fit.step(among_others[fit.rows])
                states = self._infer(fit.volumes, fit.grid)
            mixture = self._distribution(states)
            states, chance = state_mixture.under(mixture, states)
            state.group = likeliest_groups(groups_of(mixture), chance)
        small, states = canonical(fit.volumes, states)
        del fit  # it is large, as are the sums to come
        give_back()
        state.latents, state.precision = states.mean, states.precision
        self._rescale(states)
        stop_if_asked(self.reporter, self.state.phase)
        self.reporter.step(2)
        start = torch.cat([self._mean()[None], torch.stack([in_box(v, self.store.box) for v in small[1:]])])
        radius = self.store.box / 2 if last else min(refinement.seen_radius(self.halves.joint_fsc), self.store.box / 2)
        step = component_step(self.images, self.label, state.joint_rotation, state.joint_shift_px, states, start, radius, self.mask)
        state.components, state.component_noise, state.mean_noise = step.volumes, step.noise, self.mean_noise
        record = {"log_marginal": float(states.log_marginal.mean()), "radius": radius}
        if not last:
            record |= self._pose(states, step)
        state.rounds.append(record)
        self.reporter.step(3, **record)

    def _distribution(self, states: States) -> state_mixture.GaussianMixture:
        """What the images say of how states are distributed."""
        return state_mixture.learn(states, self.state.half, self.seed * 1000 + 703)

    def _choose_mates(self) -> None:
        """Of poses that a symmetry of the map makes equal, each image takes the likeliest in the state that it is in there.

        Where what moves breaks the symmetry, or each copy moves by itself, one of them is right. Each half set is asked by a model
        that the other has taught: in its own an image is likeliest where it is. Its components are free: before images are at
        their mates, what breaks the symmetry does not stand out.
        """
        state = self.state
        order = len(state.operators)
        if order == 1:
            return
        seen = in_box(in_box(flatten_solvent(self._mean(), self.mask), box_for_radius(self.radius, self.store.box)), self.store.box)
        offset_px = offsets_px(seen, state.operators)
        for _ in range(max(1, MATES_ASKED // order)):
            before = state.joint_rotation.clone()
            for taught, asked in ((1, 2), (2, 1)):  # one after the other: at once they would change places with each other
                some, rows = (torch.nonzero(state.half == half).squeeze(1) for half in (taught, asked))
                fit = self._fit(self._some(some, FITTED // 2), state.latents, is_local=False)
                state.joint_rotation[rows], state.joint_shift_px[rows] = self._likeliest_mates(fit, rows, offset_px)
                stop_if_asked(self.reporter, state.phase)
            if float((geodesic_deg(before, state.joint_rotation) > searches.MOVED_DEG).float().mean()) < FEW_MATES:
                break

    def _likeliest_mates(
        self, fit: SubspaceFit, rows: Int64[Tensor, " m"], offset_px: Float[Tensor, "o 3"]
    ) -> tuple[Float[Tensor, "m 3 3"], Float[Tensor, "m 2"]]:
        state, ball = self.state, raster(fit.volumes, fit.grid)
        rotation, shift_px = mates(state.joint_rotation[rows], state.joint_shift_px[rows], state.operators, offset_px)
        poses = zip(rotation, shift_px, strict=True)
        likely = torch.stack([infer_about_poses(self.images, rows, *pose, ball, fit.grid).log_marginal for pose in poses])
        best, row = likely.argmax(0), torch.arange(len(rows), device=rows.device)
        return rotation[best, row], shift_px[best, row]

    def _fit(self, rows: Int64[Tensor, " m"], guess: Float[Tensor, "n z"], is_local: bool) -> SubspaceFit:
        state = self.state
        mean = flatten_solvent(self._mean(), self.mask)
        poses = state.joint_rotation[rows], state.joint_shift_px[rows]
        fit = SubspaceFit(self.images, rows, *poses, mean, self.mask, guess[rows], self.radius)
        if is_local:
            fit.localise()
        else:
            fit.run()
        return fit

    def _log_marginal(self, volumes: Float[Tensor, "r d d d"], grid: BallGrid, rows: Int64[Tensor, " m"]) -> Float[Tensor, " m"]:
        """Of these images under a model, states and what poses are off by integrated out."""
        poses = rows, self.state.joint_rotation[rows], self.state.joint_shift_px[rows]
        return infer_about_poses(self.images, *poses, raster(volumes, grid), grid).log_marginal

    def _mean(self) -> Float[Tensor, "d d d"]:
        return self.state.components[0] if len(self.state.components) else self.halves.raw.mean(0)

    def _infer(self, volumes: Float[Tensor, "r d d d"], grid: BallGrid) -> States:
        poses = self.everyone, self.state.joint_rotation, self.state.joint_shift_px
        return infer_about_poses(self.images, *poses, raster(volumes, grid), grid)

    def _some(self, rows: Int64[Tensor, " m"], most: int) -> Int64[Tensor, " m2"]:
        generator = torch.Generator().manual_seed(self.seed * 1000 + 701)
        return rows[torch.randperm(len(rows), generator=generator)[:most].sort().values.to(rows.device)]

    def _rescale(self, states: States) -> None:
        """Scales and surprises, of images against the maps of their own states."""
        state = self.state
        cross, power = states.cross / state.joint_scale, states.power / state.joint_scale**2
        found = amplitudes_of(cross, power, torch.ones_like(cross, dtype=torch.bool))
        state.joint_scale, state.surprise = found.scale, found.surprise

    def _pose(self, states: States, step: ComponentStep) -> dict[str, float]:
        """Every image anew, against the map of its anchor without its fold.

        An image in a wrong basin seems to be of no state in particular. Those that hold little of the map are therefore searched
        at each of the few anchors, moved to where the states' posterior means, drawn to the middle, would lie if they were known.
        """
        state, store, whole = self.state, self.store, self.search_all and self._moves
        before = state.joint_rotation.clone()
        centres, nearest = anchors_of(states.mean, POSED_ANCHORS, self.seed)
        radius = step.folds.grid.radius
        grid = BallGrid(box_for_radius(radius, store.box), radius)
        surprise = _among_neighbours(state.surprise, nearest)
        lost, doubtful = surprise < searches.SURPRISING, (surprise >= searches.SURPRISING) & (surprise < DOUBTFUL) & whole
        settled = ~(lost | doubtful)
        few, _ = anchors_of(states.mean[~lost], SEARCHED_ANCHORS, self.seed)
        nearest_of_few = torch.cdist(states.mean, few).argmin(1)
        far = few / states.mean.square().mean(0).clamp(min=LEAST_KNOWN)
        search = self._grid(step.volumes[0], radius)
        self.reporter.phase(
            f"poses {len(state.rounds) + 1}", store.n, f"posing images in their states to {store.box_A / radius:.1f} Å"
        )
        done = 0
        for number in range(refinement.FOLDS):
            give_back()
            rows = torch.nonzero(self.label % refinement.FOLDS == number).squeeze(1)
            volumes = as_references(step.without(number), state.mean_noise, state.component_noise, self.mask)
            maps, far_maps = (torch.einsum("ar,rijk->aijk", _coefficients(at), volumes) for at in (few, far))
            self._search(rows[lost[rows]], far_maps, radius, search, near=False)
            self._search(rows[doubtful[rows]], far_maps, radius, search, near=True)
            for a in range(len(few)) if whole else ():
                self._search(rows[(nearest_of_few[rows] == a) & settled[rows]], maps[a : a + 1], radius, search, near=True)
            del maps, far_maps
            ball = raster(torch.stack([in_box(v, grid.box) for v in volumes]), grid)
            for a, at_anchor in enumerate(_mixed(ball, _coefficients(centres))):
                self._polish(rows[(nearest[rows] == a) & settled[rows]], Reference(at_anchor, grid))
            del ball
            done += len(rows)
            self.reporter.step(done, particles=len(rows))
            stop_if_asked(self.reporter, self.state.phase)
        change_deg = nearest_deg(before, state.joint_rotation, state.operators)
        record = {"mean_pose_change_deg": float(change_deg.mean()), "median_pose_change_deg": float(change_deg.median())}
        return record | ({"moved_share": float((change_deg > searches.MOVED_DEG).float().mean())} if whole else {})

    def _grid(self, volume: Tensor, radius: float) -> refinement.Grid:
        coarse = refinement.search_radius(self.images, self.everyone, volume, radius)
        generator = torch.Generator().manual_seed(self.seed * 1000 + 702 + len(self.state.rounds))
        return refinement.Grid.draw(min(radius, coarse), self.store.box, generator, self.store.device)

    def _polish(self, rows: Tensor, reference: Reference) -> None:
        state = self.state
        if len(rows):
            found = local.refine(self.images, rows, reference, state.joint_rotation[rows], state.joint_shift_px[rows])
            state.joint_rotation[rows], state.joint_shift_px[rows] = found.rotation, found.shift_px

    def _search(self, rows: Tensor, maps: Float[Tensor, "a d d d"], radius: float, grid: refinement.Grid, near: bool) -> None:
        """All poses against each of a few maps: images that fit nowhere may be of another state than they seem.

        near: whether only shifts about the known ones are searched.
        """
        state = self.state
        if not len(rows):
            return
        known, best = (
            (state.joint_rotation[rows], state.joint_shift_px[rows]),
            torch.full(rows.shape, -torch.inf, device=rows.device),
        )
        for volume in maps:
            found = refinement.global_poses(self.images, rows, volume, radius, grid, known, near, state.operators)
            better = found.score > best
            best = torch.where(better, found.score, best)
            state.joint_rotation[rows[better]], state.joint_shift_px[rows[better]] = found.rotation[better], found.shift_px[better]
            state.confidence[rows[better]] = found.confidence[better]


def _among_neighbours(surprise: Float[Tensor, " n"], anchor: Int64[Tensor, " n"]) -> Float[Tensor, " n"]:
    """Surprise beyond what is usual at the same anchor: in states far out the model holds a little too much of what is missing."""
    usual = torch.zeros_like(surprise)
    for a in range(int(anchor.max()) + 1):
        mine = anchor == a
        usual[mine] = surprise[mine].median()
    return surprise - usual


def _coefficients(states: Float[Tensor, "a z"]) -> Float[Tensor, "a r"]:
    return torch.nn.functional.pad(states, (1, 0), value=1.0)


def _mixed(ball: Float[Tensor, "v r2"], mixes: Float[Tensor, "a r"]) -> Iterator[Float[Tensor, "v 2"]]:
    """Maps of the components', one after the other; a few are mixed at once, as reading the components is what takes time."""
    of_pairs = torch.eye(2, device=ball.device)
    for some in mixes.split(MIXED_AT_ONCE):
        together = ball @ torch.einsum("ar,ij->riaj", some, of_pairs).reshape(ball.shape[1], -1)
        yield from (single.contiguous() for single in together.split(2, dim=1))
