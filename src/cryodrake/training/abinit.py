"""Ab initio reconstruction: particles in, poses, maps and a neural field out."""

from collections.abc import Iterator
from dataclasses import replace

import torch
from jaxtyping import Int64
from torch import Tensor

from cryodrake.data.coefficients import CoefficientStore
from cryodrake.data.halves import half_sets
from cryodrake.inference.basins import nearest_deg
from cryodrake.inference.reference import Reference, in_box
from cryodrake.io.job import JobFolder
from cryodrake.io.particles import ParticleFile
from cryodrake.physics.blocks import at_once
from cryodrake.physics.fsc import resolution_A
from cryodrake.training import conformations, refinement, searches, settling, starts
from cryodrake.training.bootstrap import BATCH, SCHEDULE
from cryodrake.training.config import MOST_CLASSES, AbinitConfig
from cryodrake.training.estimates import SCALE_RADIUS, image_amplitudes, residual_noise
from cryodrake.training.events import AbstractReporter, stop_if_asked
from cryodrake.training.images import WeightedImages
from cryodrake.training.last_polish import LastPolish
from cryodrake.training.loading import load, particle_radius_px
from cryodrake.training.mixture import WORTHWHILE, Classification, Mixture, Several
from cryodrake.training.part_poses import PartPoses
from cryodrake.training.parts import joined, structures_of
from cryodrake.training.results import write_results
from cryodrake.training.state import RunState
from cryodrake.training.symmetry import operators_of
from cryodrake.training.verdict import judge

FIRST_IMAGES = 5000  # of the first pass; each pass has twice as many as the one before, until all are in
FEW_COST = 0.1  # of the finer searches of a few images, in searches of all
BATCH_STEPS = sum(stage.steps for stage in SCHEDULE)


def run(config: AbinitConfig, job: JobFolder, reporter: AbstractReporter) -> None:
    """The whole job, as one structure, from its last checkpoint if there is one."""
    torch.manual_seed(config.seed)
    particles, store = load(config, job, reporter)
    reconstruct(replace(config, classes=1), job, reporter, particles, store)


def reconstruct(
    config: AbinitConfig,
    job: JobFolder,
    reporter: AbstractReporter,
    particles: ParticleFile,
    store: CoefficientStore,
    start: RunState | None = None,
) -> Several | None:
    """The job on particles that are loaded: to its end, or to where they prove to be of several structures (`find_parts`).

    start: of a run that these particles were among (`RunState.on_images`), to go on from in place of random poses.
    """
    run_ = AbinitRun.open(config, job, reporter, particles, store, start)
    run_.bootstrap()
    run_.refine()
    several = run_.find_parts()
    if several is None:
        run_.finish(particles)
    return several


class AbinitRun:
    """The phases of a run over its state."""

    def __init__(self, config: AbinitConfig, job: JobFolder, reporter: AbstractReporter, store: CoefficientStore, state: RunState):
        self.config, self.job, self.reporter, self.store, self.state = config, job, reporter, store, state

    @classmethod
    def open(
        cls,
        config: AbinitConfig,
        job: JobFolder,
        reporter: AbstractReporter,
        particles: ParticleFile,
        store: CoefficientStore,
        start: RunState | None = None,
    ) -> "AbinitRun":
        """At the job's last checkpoint, or at its beginning, which may be another run's end."""
        saved = job.load_latest()
        if saved is not None:
            return cls(config, job, reporter, store, RunState.restore(saved[1], saved[2], store.device))
        if start is None:
            state = RunState.first(half_sets(particles.table, config.seed), store.noise, store.box, config.zdim)
            return cls(config, job, reporter, store, state)
        run_ = cls(config, job, reporter, store, start)
        run_._remake_maps()  # by folds of these images alone: none may see itself
        return run_

    @property
    def images(self) -> WeightedImages:
        return WeightedImages(self.store, self.state.noise, self.state.scale)

    @property
    def label(self) -> Int64[Tensor, " n"]:
        """Fold of each image in use, -1 for the others: a random part, so that first passes, of a map still vague, cost little."""
        n, generator = self.store.n, torch.Generator().manual_seed(self.config.seed * 1000 + 499)
        waiting = torch.randperm(n, generator=generator)[self.state.active :].to(self.store.device)
        return refinement.fold_labels(self.state.half).index_fill_(0, waiting, -1)

    @property
    def particle_radius_px(self) -> float:
        """Of the solvent mask."""
        return particle_radius_px(self.config, self.store)

    def checkpoint(self) -> None:
        """Save the state; stop here if that was asked for."""
        self.job.save_checkpoint(self.state.phase, self.state.tensors(), self.state.meta())
        self._poll()

    # bootstrap ---------------------------------------------------------------------------------------------------------

    def bootstrap(self) -> None:
        """Random starts until two agree; the likelier of those (or the likeliest of all) becomes both halves' reference."""
        state = self.state
        while state.phase == "bootstrap":
            if any(is_enough(state.starts) for is_enough in (starts.confirmed, starts.are_continued, starts.are_of_nothing)):
                self._choose_start()
                state.phase, state.active = "refine", min(FIRST_IMAGES, self.store.n)
            elif len(state.starts) < starts.MOST_STARTS:
                self._more_starts()
            else:
                self._continue_starts()
            self.checkpoint()

    @property
    def _maker(self) -> starts.StartMaker:
        extent_px, mask_radius = refinement.SHIFT_EXTENT * self.store.box, self.particle_radius_px / self.store.box
        return starts.StartMaker(self.images, self.store.n, extent_px, mask_radius, self._tell_start)

    def _more_starts(self) -> None:
        """The first two side by side, later ones one at a time."""
        state, m = self.state, len(self.state.starts)
        seeds = [self.config.seed * 1000 + i for i in range(m, max(m + 1, starts.FIRST_STARTS))]
        name, words = f"start {m + 1}", "random start " + " and ".join(str(m + 1 + i) for i in range(len(seeds)))
        self.reporter.phase(name, BATCH_STEPS * len(seeds), words)
        found, same = self._maker.run(seeds, state.start_maps)
        state.starts += [start.record for start in found]
        for i, row in enumerate(same.tolist(), m):
            for j, value in enumerate(row):
                for record in (state.starts[i], state.starts[j]) if i != j else ():
                    record["agreement"] = max(record["agreement"], value)
        volumes = torch.stack([start.volume for start in found])
        state.start_maps = torch.cat([state.start_maps.view(m, *volumes.shape[1:]), volumes])
        for i in range(m, len(state.starts)):
            self._use_start(i)
            self._show(f"start {i + 1}", self.store.box_A / state.radius)

    def _continue_starts(self) -> None:
        """The two likeliest, in place of what they were."""
        state, pair = self.state, starts.likeliest_two(self.state.starts)
        total, names = sum(stage.steps for stage in starts.CONTINUED), " and ".join(str(i + 1) for i in pair)
        self.reporter.phase("starts go on", total * len(pair), f"random starts {names} go on")
        seeds = [self.config.seed * 1000 + starts.MOST_STARTS + i for i in pair]
        found, same = self._maker.go_on(seeds, state.start_maps[pair])
        for i, start in zip(pair, found, strict=True):
            state.start_maps[i] = start.volume
            state.starts[i] = start.record | {"agreement": float(same.max()), "is_continued": True}
            self._use_start(i)
            self._show(f"start {i + 1} continued", self.store.box_A / state.radius)

    def _choose_start(self) -> None:
        """The likeliest start among the confirmed ones, or among all."""
        records = self.state.starts
        agreed = [i for i, r in enumerate(records) if r["agreement"] >= starts.AGREEMENT] or range(len(records))
        self._use_start(max(agreed, key=lambda i: records[i]["log_marginal"]))

    def _use_start(self, i: int) -> None:
        state, box = self.state, self.store.box
        full = in_box(state.start_maps[i], box)
        state.maps = full.expand(2, refinement.FOLDS, *full.shape).clone()
        state.radius = min(SCHEDULE[-1].last_radius, box / 2)

    def _tell_start(self, done: int, total: int, log_marginal: float) -> None:
        self.reporter.step(done, particles=min(BATCH, self.store.n), log_marginal=log_marginal)
        self._poll()

    def _poll(self) -> None:
        stop_if_asked(self.reporter, self.state.phase)

    def _show(self, name: str, resolution: float) -> None:
        volume = self.state.maps.mean((0, 1))
        self.reporter.stage(name, volume.cpu().numpy(), self.store.pixel_size_A, resolution)

    # refinement --------------------------------------------------------------------------------------------------------

    def refine(self) -> None:
        """Poses and maps in turn until neither changes."""
        while self.state.phase == "refine":
            self._iterate()
            if settling.is_settled(self.state.history, self.store.n):
                self.state.phase = "parts" if self.asks_for_parts else "join"
            self.checkpoint()

    @property
    def asks_for_parts(self) -> bool:
        """Whether `find_parts` is worth its time: for states, and where one map seems to be of two structures; of noise never."""
        if starts.are_of_nothing(self.state.starts):
            return False
        return self.config.zdim > 0 or (self.config.classes is None and searches.are_two_kinds(self.state.surprise))

    def find_parts(self) -> Several | None:
        """Poses of images that hold only a part of the structure, where states are asked for.

        Where the number of classes was left open: which structures there are, if several. The run ends there.
        """
        state = self.state
        if state.phase != "parts":
            return None
        making = Classification(self.store, self.particle_radius_px / self.store.box, self.config.seed, self.reporter)
        mixture, is_open = making.of_refined(state), self.config.classes is None
        hybrid = self._hybrid(making, mixture) if is_open else None
        if hybrid is not None:  # the first map is not the run's
            mixture = self._all_classes(making, hybrid, splits=True)
            structures = structures_of(mixture)
        elif self.config.zdim and len(searches.misfits(state.surprise)):
            mixture = self._all_classes(making, mixture, splits=False)
            pose = PartPoses(self.images, state, self.reporter, self.particle_radius_px, self.config.seed, self._poll)
            mixture, structures = pose.run(mixture, structures_of(mixture))
        else:
            structures = []
        if len(structures) > 1 and is_open:
            return Several(joined(mixture, structures), None if hybrid is not None else state)
        state.phase = "join"
        self.checkpoint()
        return None

    def _hybrid(self, making: Classification, one: Mixture) -> Mixture | None:
        """Two classes, or one, to go on from where the map may be of several structures at once; None where it is of one.

        Starts may agree on a hybrid: what tells is whether two maps of these images are worth it and of different structures.
        """
        two = making.split(one, WORTHWHILE)
        if two is not None and len(structures_of(two)) > 1:
            return two
        return None if starts.confirmed(self.state.starts) else two or one

    def _all_classes(self, making: Classification, mixture: Mixture, splits: bool) -> Mixture:
        """A class more as long as many images fit none or, where maps may be hybrids, a split is worth while."""
        while len(mixture.maps) < MOST_CLASSES:
            another = making.apart(mixture, searches.misfits(mixture.surprise))
            if another is None and splits:
                another = making.split(mixture, WORTHWHILE)
            if another is None:
                break
            mixture = another
        return mixture

    def finish(self, particles: ParticleFile) -> None:
        """From the refined poses to the end: the last polish, states, results and the verdict."""
        state, store, radius_px = self.state, self.store, self.particle_radius_px
        maps = self.join()
        found = self.find_states(maps)
        state.fsc = maps.fsc
        write_results(self.job, self.reporter, particles, store, state, maps, found, radius_px, self.config.seed)
        verdict = judge(state, store)
        if not verdict.converged:
            self.reporter.warn(verdict.words)
        self.reporter.finish(verdict.converged, verdict.words, **verdict.numbers)

    def join(self) -> refinement.HalfMaps:
        """The last polish of each image, against the map of all others of both halves; the half maps as they were before it."""
        state, store = self.state, self.store
        self.reporter.phase("join", store.n, "polishing poses with both half sets")
        poses = state.rotation, state.shift_px
        halves = refinement.half_maps(self.images, state.half, *poses, store.box / 2, self.particle_radius_px)
        if state.phase == "join":
            LastPolish(self.images, state, self.reporter, self.config.seed, self._poll).run(halves)
            state.joint_scale = state.scale.clone()
            state.phase = "states" if self.config.zdim else "finish"
            self.checkpoint()
        return halves

    def find_states(self, halves: refinement.HalfMaps) -> conformations.Conformations | None:
        """States, and poses that know of them, where they are asked for."""
        if not self.config.zdim:
            return None
        seed, radius_px = self.config.seed, self.particle_radius_px
        found = conformations.Conformations(self.store, self.state, self.reporter, halves, radius_px, seed, search_all=True)
        if self.state.phase == "states":
            found.run(self.checkpoint, conformations.ROUNDS)
            self.state.phase = "finish"
            self.checkpoint()
        return found

    def _folds(self) -> Iterator[tuple[Tensor, int, int]]:
        """Rows of one fold, a few thousand at a time, with their half (from 0) and fold."""
        label = self.label
        for number in range(2 * refinement.FOLDS):
            for rows in torch.nonzero(label == number).squeeze(1).split(at_once(searches.ROWS_PER_PROGRESS, label.device)):
                yield rows, *divmod(number, refinement.FOLDS)

    def _iterate(self) -> None:
        state, store = self.state, self.store
        whole = settling.wants_all_searched(state.history, store.n)
        words = "searching all poses" if whole else "improving poses"
        words += f" to {store.box_A / state.radius:.1f} Å" + (f", {state.active:,} images" if state.active < store.n else "")
        self.reporter.phase(f"refine {state.iteration + 1}", state.active, words)
        before, radius = state.rotation.clone(), state.radius
        self._pass_over_images(whole)
        active = self.label >= 0
        change_deg = nearest_deg(before[active], state.rotation[active], state.operators)
        self._remake_maps()
        if state.iteration >= 2:
            self._reestimate()
        state.history.append(
            {
                "whole": whole,
                "images": state.active,
                "radius": radius,
                "resolution_A": resolution_A(state.fsc, 0.143, store.box_A),
                "mean_pose_change_deg": float(change_deg.mean()),
                "median_pose_change_deg": float(change_deg.median()),
                "moved_share": float((change_deg > searches.MOVED_DEG).float().mean()),
                "sigma_deg": float(state.sigma_deg[active].median()),
                "confident_share": float((state.confidence[active] > searches.SURE).float().mean()),
                "operators": len(state.operators),
            }
        )
        state.iteration += 1
        last = state.history[-1]
        shown = ("resolution_A", "confident_share", "mean_pose_change_deg", "sigma_deg")
        self.reporter.step(state.active, **{name: last[name] for name in shown})
        state.active = min(2 * state.active, store.n)
        self._show(f"refine {state.iteration}", last["resolution_A"])

    def _pass_over_images(self, whole: bool) -> None:
        """New poses: of each fold against the map without it."""
        state = self.state
        active = torch.nonzero(self.label >= 0).squeeze(1)
        share = 1.0 if whole else float((~searches.is_sure(state, active)).float().mean())
        grid = searches.grid(self.images, state, state.maps[0, 0], state.radius, share, FEW_COST, self.config.seed)
        done = 0
        for rows, h, f in self._folds():
            sure = searches.is_sure(state, rows)
            self._search(rows[~sure], state.maps[h, f], grid, near=False)
            if whole:
                self._search(rows[sure], state.maps[h, f], grid, near=True)
            else:
                self._polish(rows[sure], state.maps[h, f])
            done += len(rows)
            self.reporter.step(done, particles=len(rows))
            self._poll()
        state.operators = operators_of(state.rival)

    def _search(self, rows: Tensor, volume: Tensor, grid: refinement.Grid, near: bool) -> None:
        """The likeliest of all poses of these images."""
        state = self.state
        if not len(rows):
            return
        known = (state.rotation[rows], state.shift_px[rows]) if state.history else None
        found = refinement.global_poses(self.images, rows, volume, state.radius, grid, known, near, state.operators)
        state.rotation[rows], state.shift_px[rows] = found.rotation, found.shift_px
        state.confidence[rows], state.sigma_deg[rows], state.rival[rows] = found.confidence, found.sigma_deg, found.rival

    def _polish(self, rows: Tensor, volume: Tensor) -> None:
        """The poses of these images, a little better."""
        state = self.state
        if not len(rows):
            return
        found = refinement.local_poses(self.images, rows, volume, state.radius, state.rotation[rows], state.shift_px[rows])
        state.rotation[rows], state.shift_px[rows], state.sigma_deg[rows] = found.rotation, found.shift_px, found.sigma_deg

    def _remake_maps(self) -> None:
        """From the poses, and how far they now go."""
        state, box = self.state, self.store.box
        grid_radius = min(box / 2, max(1.5 * state.radius, 16.0))
        sums = refinement.fold_sums(self.images, self.label, state.rotation, state.shift_px, grid_radius)
        maps = refinement.HalfMaps.of(sums.of_halves(), sums.grid, self.particle_radius_px)
        state.maps, state.fsc = refinement.half_references(sums, maps), maps.fsc
        state.radius = refinement.next_radius(maps.inside, state.maps[0, 0], state.noise, state.radius)

    def _reestimate(self) -> None:
        state = self.state
        poses = (self.label, state.rotation, state.shift_px)
        references = (Reference.build(volume, state.radius) for volume in state.maps.flatten(0, 1))  # one at a time: they are large
        state.noise = residual_noise(self.store, references, *poses, state.scale, state.noise)
        references = (Reference.build(volume, min(state.radius, SCALE_RADIUS)) for volume in state.maps.flatten(0, 1))
        amplitudes = image_amplitudes(self.store, references, *poses, state.noise)
        state.scale, state.surprise = amplitudes.scale, amplitudes.surprise
