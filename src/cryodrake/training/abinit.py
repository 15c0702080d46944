"""Ab initio reconstruction: particles in, poses, maps and a neural field out."""

import math

import torch
from torch import Tensor

from cryodrake.data.coefficients import CoefficientStore
from cryodrake.data.halves import half_sets
from cryodrake.errors import JobStopped
from cryodrake.inference.reference import Reference
from cryodrake.io.job import JobFolder
from cryodrake.io.particles import ParticleFile, read_particles
from cryodrake.physics.fourier import centred_resize, coeff_to_volume, volume_to_coeff
from cryodrake.physics.fsc import resolution_A
from cryodrake.physics.rotations import geodesic_deg
from cryodrake.training import refinement, starts
from cryodrake.training.bootstrap import BATCH, SCHEDULE
from cryodrake.training.config import AbinitConfig, InputOptions
from cryodrake.training.estimates import image_scales, residual_noise
from cryodrake.training.events import AbstractReporter
from cryodrake.training.images import WeightedImages
from cryodrake.training.output import shifts_in_A, write_maps, write_particles
from cryodrake.training.state import RunState
from cryodrake.training.verdict import judge

SHIFT_EXTENT = 0.1  # of the box: the largest shift that is searched
MASK_RADIUS = 0.42  # of the box: the particle, while nothing is known
MOST_ITERATIONS = 14
GLOBAL_ITERATIONS = 3  # of all images; later ones search globally only for images that are not sure
SURE = 0.9
BATCH_STEPS = sum(stage.steps for stage in SCHEDULE)
ROWS_PER_PROGRESS = 2500
STILL_DEG = 0.25  # median pose change, as a fraction of the expected error, below which poses stand still


def choose_device(name: str) -> torch.device:
    """The device that an option names; auto is the CUDA card if there is one."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(name)


def load(config: InputOptions, job: JobFolder, reporter: AbstractReporter) -> tuple[ParticleFile, CoefficientStore]:
    """Read the particles and make their coefficients resident."""
    particles = read_particles(config.particles, ctf=config.ctf, ind=config.ind, datadir=config.datadir, pixel_size_A=config.apix)
    reporter.phase("read", particles.n, "reading and cleaning the images")
    store = CoefficientStore.build(
        particles,
        config.box,
        config.diameter_A,
        choose_device(config.device),
        config.memory_gib,
        scratch=job.path,
        progress=lambda done, total: reporter.step(done),
    )
    for note in (*particles.notes, *store.notes):
        job.log(note)
    return particles, store


def run(config: AbinitConfig, job: JobFolder, reporter: AbstractReporter) -> None:
    """The whole job, from its last checkpoint if there is one."""
    torch.manual_seed(config.seed)
    particles, store = load(config, job, reporter)
    saved = job.load_latest()
    if saved is None:
        state = RunState.first(half_sets(particles.table, config.seed), store.noise, store.box)
    else:
        state = RunState.restore(saved[1], saved[2], store.device)
    run_ = AbinitRun(config, job, reporter, store, state)
    run_.bootstrap()
    run_.refine()
    found = write_maps(
        job,
        run_.images,
        state.half,
        state.rotation,
        state.shift_px,
        run_.particle_radius_px,
        store.pixel_size_A,
        config.seed,
        reporter,
    )
    state.fsc = found.fsc
    write_particles(job, particles, state.rotation, shifts_in_A(state.shift_px, store), state.half, state.confidence)
    verdict = judge(state, store)
    if not verdict.converged:
        reporter.warn(verdict.words)
    reporter.finish(verdict.converged, verdict.words, **verdict.numbers)


class AbinitRun:
    """The phases of a run over its state."""

    def __init__(self, config: AbinitConfig, job: JobFolder, reporter: AbstractReporter, store: CoefficientStore, state: RunState):
        self.config, self.job, self.reporter, self.store, self.state = config, job, reporter, store, state

    @property
    def images(self) -> WeightedImages:
        return WeightedImages(self.store, self.state.noise, self.state.scale)

    @property
    def particle_radius_px(self) -> float:
        """Of the solvent mask."""
        if self.config.diameter_A is not None:
            return min(self.config.diameter_A / 2 / self.store.pixel_size_A, 0.49 * self.store.box)
        return MASK_RADIUS * self.store.box

    def checkpoint(self) -> None:
        """Save the state; stop here if that was asked for."""
        self.job.save_checkpoint(self.state.phase, self.state.tensors(), self.state.meta())
        self._poll()

    # bootstrap ---------------------------------------------------------------------------------------------------------

    def bootstrap(self) -> None:
        """Random starts until two agree; the likelier of those (or the likeliest of all) becomes both halves' reference."""
        state = self.state
        while state.phase == "bootstrap":
            if starts.confirmed(state.starts) or len(state.starts) >= starts.MOST_STARTS:
                self._choose_start()
                state.phase = "refine"
            else:
                self._one_more_start()
            self.checkpoint()

    def _one_more_start(self) -> None:
        state, i = self.state, len(self.state.starts)
        self.reporter.phase(f"start {i + 1}", BATCH_STEPS, f"random start {i + 1}")
        volume, record = starts.run_start(
            self.images,
            self.store.n,
            SHIFT_EXTENT * self.store.box,
            self.particle_radius_px / self.store.box,
            self.config.seed * 1000 + i,
            self._tell_start,
        )
        for earlier, other in zip(state.starts, state.start_maps, strict=True):
            same = starts.agreement(volume, other)
            earlier["agreement"] = max(earlier["agreement"], same)
            record["agreement"] = max(record["agreement"], same)
        state.starts.append(record)
        state.start_maps = torch.cat([state.start_maps.view(i, *volume.shape), volume[None]])
        self._use_start(i)
        self._show(f"start {i + 1}", self.store.box_A / state.radius)

    def _choose_start(self) -> None:
        """The likeliest start among the confirmed ones, or among all."""
        records = self.state.starts
        agreed = [i for i, r in enumerate(records) if r["agreement"] >= starts.AGREEMENT] or range(len(records))
        self._use_start(max(agreed, key=lambda i: records[i]["log_marginal"]))

    def _use_start(self, i: int) -> None:
        box = self.store.box
        full = coeff_to_volume(centred_resize(volume_to_coeff(self.state.start_maps[i]), box, 3))
        self.state.maps = torch.stack([full, full])
        self.state.radius = min(SCHEDULE[-1].last_radius, box / 2)

    def _tell_start(self, done: int, total: int, log_marginal: float) -> None:
        self.reporter.step(done, particles=min(BATCH, self.store.n), log_marginal=log_marginal)
        self._poll()

    def _poll(self) -> None:
        """Stop at once where that was asked for: what is lost is the work since the last checkpoint."""
        if self.reporter.should_stop():
            raise JobStopped(f"stopped in phase {self.state.phase}")

    def _show(self, name: str, resolution: float) -> None:
        volume = self.state.maps.mean(0)
        self.reporter.stage(name, volume.cpu().numpy(), self.store.pixel_size_A, resolution)

    # refinement --------------------------------------------------------------------------------------------------------

    def refine(self) -> None:
        """Poses and maps in turn until neither changes."""
        while self.state.phase == "refine":
            self._iterate()
            if self._settled():
                self.state.phase = "finish"
            self.checkpoint()

    def _iterate(self) -> None:
        state, store = self.state, self.store
        whole = state.iteration < GLOBAL_ITERATIONS
        words = "searching all poses" if whole else "polishing poses"
        self.reporter.phase(f"refine {state.iteration + 1}", store.n, f"{words} to {store.box_A / state.radius:.1f} Å")
        before = state.rotation.clone()
        done = 0
        for h in (1, 2):
            for rows in torch.nonzero(state.half == h).squeeze(1).split(ROWS_PER_PROGRESS):
                self._update_poses(rows, state.maps[h - 1], whole)
                done += len(rows)
                self.reporter.step(done, particles=len(rows))
                self._poll()
        change_deg = float(geodesic_deg(before, state.rotation).median())
        searched_radius = state.radius
        grid_radius = min(store.box / 2, max(1.5 * state.radius, 16.0))
        maps = refinement.half_maps(self.images, state.half, state.rotation, state.shift_px, grid_radius, self.particle_radius_px)
        state.maps, state.fsc = maps.references, maps.fsc
        state.radius = refinement.next_radius(maps.fsc, maps.references[0], state.noise, state.radius)
        if state.iteration >= 2:
            self._reestimate()
        state.history.append(
            {
                "whole": whole,
                "radius": searched_radius,
                "resolution_A": resolution_A(maps.fsc, 0.143, store.box_A),
                "mean_pose_change_deg": float(geodesic_deg(before, state.rotation).mean()),
                "median_pose_change_deg": change_deg,
                "sigma_deg": self._sigma_deg,
                "confident_share": float((state.confidence > 0.9).float().mean()),
            }
        )
        state.iteration += 1
        last = state.history[-1]
        shown = ("resolution_A", "confident_share", "mean_pose_change_deg", "sigma_deg")
        self.reporter.step(store.n, **{name: last[name] for name in shown})
        self._show(f"refine {state.iteration}", last["resolution_A"])

    def _update_poses(self, rows: Tensor, volume: Tensor, whole: bool) -> None:
        """New poses of one half set: a global search for images that are not sure (or all), polishing for the others."""
        state = self.state
        sure = (state.confidence[rows] > SURE) & (not whole)
        for subset, searched in ((rows[~sure], True), (rows[sure], False)):
            if not len(subset):
                continue
            rotation, shift_px, confidence = state.rotation[subset], state.shift_px[subset], state.confidence[subset]
            if searched:
                extent, step = (SHIFT_EXTENT * self.store.box, 2.0) if state.iteration == 0 else (3.0, 1.5)
                found = refinement.global_poses(self.images, subset, volume, state.radius, shift_px, extent, step)
            else:
                found = refinement.local_poses(self.images, subset, volume, state.radius, rotation, shift_px, confidence)
            state.rotation[subset], state.shift_px[subset] = found.rotation, found.shift_px
            state.confidence[subset] = found.confidence
            self._sigma_deg = float(found.sigma_deg.median())

    def _reestimate(self) -> None:
        state = self.state
        references = (Reference.build(state.maps[0], state.radius), Reference.build(state.maps[1], state.radius))
        poses = (state.half, state.rotation, state.shift_px)
        state.noise = residual_noise(self.store, references, *poses, state.scale, state.noise)
        state.scale = image_scales(self.store, references, *poses, state.noise)

    def _settled(self) -> bool:
        """Whether poses and resolution stand still after the last global pass, or the limit is reached."""
        history = self.state.history
        if len(history) >= MOST_ITERATIONS:
            return True
        if len(history) < GLOBAL_ITERATIONS + 2:
            return False
        still = history[-1]["median_pose_change_deg"] < STILL_DEG * history[-1]["sigma_deg"]
        better = history[-2]["resolution_A"] / history[-1]["resolution_A"]
        return still and better < 1.02 and math.isfinite(better)
