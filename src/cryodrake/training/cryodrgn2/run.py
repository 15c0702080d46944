"""The run: epochs of training, every fifth with a search, from the last checkpoint if there is one."""

import time

import torch
from jaxtyping import Int64
from torch import Tensor

from cryodrake.data.coefficients import CoefficientStore
from cryodrake.data.halves import half_sets
from cryodrake.errors import JobStopped
from cryodrake.fields.base import AbstractField
from cryodrake.fields.conditioned import ConditionedField
from cryodrake.fields.latent_encoder import LatentEncoder
from cryodrake.fields.latent_table import LatentTable
from cryodrake.fields.latents import AbstractLatents
from cryodrake.fields.mlp import MLPField
from cryodrake.inference.reference import AbstractReference, Reference
from cryodrake.inference.reference_field import FieldReference
from cryodrake.io.job import JobFolder
from cryodrake.physics.rotations import geodesic_deg, random_rotations
from cryodrake.training.config import AbinitConfig
from cryodrake.training.cryodrgn2.images import NormalisedImages
from cryodrake.training.cryodrgn2.model import AbstractModel
from cryodrake.training.cryodrgn2.model_flexible import FlexibleModel
from cryodrake.training.cryodrgn2.model_rigid import RigidModel
from cryodrake.training.cryodrgn2.output import write_results
from cryodrake.training.cryodrgn2.schedule import FLEXIBLE, RIGID, Schedule
from cryodrake.training.cryodrgn2.search import search_poses, share_of_best
from cryodrake.training.cryodrgn2.state import PoseTable, Progress, pack, unpack
from cryodrake.training.events import AbstractReporter
from cryodrake.training.loading import load
from cryodrake.training.searches import MOVED_DEG

SECONDS_BETWEEN_CHECKPOINTS = 60.0


def run(config: AbinitConfig, job: JobFolder, reporter: AbstractReporter, schedule: Schedule | None = None) -> None:
    """The whole job; `schedule` is the published one unless given."""
    torch.manual_seed(config.seed)
    particles, store = load(config, job, reporter)
    model = make_model(config, store)
    half = half_sets(particles.table, config.seed).to(store.device)
    run_ = Cryodrgn2Run(config, job, reporter, store, model, PoseTable.first(half), schedule or published(config.zdim))
    saved = job.load_latest()
    if saved is not None:
        run_.restore(saved[1], saved[2])
    run_.train()
    write_results(config, job, reporter, particles, store, model, run_.images, run_.poses, run_.progress.history)


def published(zdim: int) -> Schedule:
    """The published schedule, without states and with."""
    return FLEXIBLE if zdim else RIGID


def make_model(config: AbinitConfig, store: CoefficientStore) -> AbstractModel:
    """Untrained networks."""
    box, box_A, seed = store.box, store.box_A, config.seed
    if not config.zdim:
        return RigidModel(MLPField.cryodrgn2(box, box_A, seed=seed)).to(store.device)
    latents: AbstractLatents
    if config.latents == "encoder":
        latents = LatentEncoder(store.disc.n_points, config.zdim, seed=seed)
    else:
        latents = LatentTable(store.n, config.zdim, seed=seed)
    return FlexibleModel(ConditionedField.cryodrgn2(box, box_A, config.zdim, seed), latents).to(store.device)


class Cryodrgn2Run:
    """Model, poses and how far the run has come."""

    def __init__(
        self,
        config: AbinitConfig,
        job: JobFolder,
        reporter: AbstractReporter,
        store: CoefficientStore,
        model: AbstractModel,
        poses: PoseTable,
        schedule: Schedule,
    ):
        self.config, self.job, self.reporter, self.store = config, job, reporter, store
        self.model, self.poses, self.schedule = model, poses, schedule
        self.images = NormalisedImages(store)
        self.optimisers = model.optimisers(schedule.learning_rate)
        self.progress = Progress()
        self._saved_at = time.monotonic()

    def restore(self, tensors: dict[str, Tensor], meta: dict[str, object]) -> None:
        """Goes on from a checkpoint: poses, networks, moments and the place in the epoch."""
        self.progress, self.poses = unpack(tensors, meta, self.model, self.optimisers, self.store.device)

    def train(self) -> None:
        """All epochs that are left."""
        while self.progress.epoch <= self.schedule.epochs:
            self._epoch()

    def order(self, epoch: int) -> Int64[Tensor, " m"]:
        """Rows in the order of an epoch. Epoch 0 has as many as its schedule says, each image as often as any other."""
        n = self.store.n
        generator = torch.Generator().manual_seed(self.config.seed * 100_003 + epoch)
        wanted = n if epoch else self.schedule.pretraining_images
        passes = [torch.randperm(n, generator=generator) for _ in range(-(-wanted // n))]
        return torch.cat([*passes, torch.zeros(0, dtype=torch.int64)])[:wanted].to(self.store.device)

    def _epoch(self) -> None:
        now, epoch = self.progress, self.progress.epoch
        order = self.order(epoch)
        self.reporter.phase(f"epoch {epoch}", len(order), self._words(epoch))
        while now.done < len(order):
            ready = len(order)
            if self.schedule.searches(epoch):
                if now.done == now.searched:
                    self._search(order[now.searched : now.searched + self.schedule.block])
                ready = now.searched
            rows = order[now.done : min(now.done + self.schedule.batch, ready)]
            now.loss += self._step(rows) * len(rows)
            now.done += len(rows)
            self.reporter.step(now.done, particles=len(rows), loss=now.loss / now.done)
            self._save_if_due()
        self._close_epoch()

    def _words(self, epoch: int) -> str:
        if epoch == 0:
            return "training with random poses"
        at_work = "searching all poses and training" if self.schedule.searches(epoch) else "training"
        return f"epoch {epoch} of {self.schedule.epochs}: {at_work}"

    def _close_epoch(self) -> None:
        now, epoch = self.progress, self.progress.epoch
        last: dict[str, float] = {"epoch": epoch, "loss": now.loss / max(now.done, 1)}
        shown = {}
        if self.schedule.searches(epoch):
            shown["mean_pose_change_deg"] = now.turned_deg / max(now.searched, 1)
            shown["moved_share"] = now.moved / max(now.searched, 1)
            shown["confident_share"] = float((self.poses.confidence > 0.9).float().mean())
        self.reporter.step(now.done, loss=last["loss"], **shown)
        self.reporter.stage(f"epoch {epoch}", self.model.typical_map().cpu().numpy(), self.store.pixel_size_A, None)
        self.progress = Progress(epoch + 1, history=[*now.history, last | shown])
        self._save()
        if self.reporter.should_stop():
            raise JobStopped(f"stopped after epoch {epoch}")

    # training ----------------------------------------------------------------------------------------------------------

    def _step(self, rows: Int64[Tensor, " b"]) -> float:
        """One step of every optimiser; the loss before it."""
        now = self.progress
        generator = torch.Generator().manual_seed(((self.config.seed * 1009 + now.epoch) * 2**32 + now.done) % 2**63)
        if now.epoch == 0:
            rotation = random_rotations(len(rows), generator).to(rows.device)
            batch = self.images.batch(rows, rotation, torch.zeros(len(rows), 2, device=rows.device))
            loss = self.model.pretraining_loss(batch, generator)
        else:
            loss = self.model.loss(self.images.batch(rows, self.poses.rotation[rows], self.poses.shift_px[rows]), generator)
        for optimiser in self.optimisers:
            optimiser.zero_grad()
        loss.backward()
        for optimiser in self.optimisers:
            optimiser.step()
        return float(loss.detach())

    # searching ---------------------------------------------------------------------------------------------------------

    def _search(self, rows: Int64[Tensor, " b"]) -> None:
        """New poses of these images. It may take long: what was done before is saved first."""
        self._save()
        now, poses = self.progress, self.poses
        radii = self.schedule.radii(now.epoch, self.store.box)
        for group in self.model.groups(self.images, rows, self.config.exact_search, self.config.seed):
            members = rows[group.members]
            references = {radius: self._reference(group.field, radius) for radius in set(radii)}
            found = search_poses(self.images, members, references.__getitem__, radii, self.schedule)
            turned_deg = geodesic_deg(poses.rotation[members], found.rotation[:, 0])
            now.turned_deg += float(turned_deg.sum())
            now.moved += int((turned_deg > MOVED_DEG).sum())
            poses.rotation[members], poses.shift_px[members] = found.rotation[:, 0], found.shift_px[:, 0]
            poses.confidence[members] = share_of_best(found, self.schedule)
            if self.reporter.should_stop():
                raise JobStopped(f"stopped in the search of epoch {now.epoch}")
        now.searched += len(rows)

    def _reference(self, field: AbstractField, radius: float) -> AbstractReference:
        return FieldReference(field, radius) if self.config.exact_search else Reference.of_field(field, radius)

    # checkpoints -------------------------------------------------------------------------------------------------------

    def _save(self) -> None:
        self.job.save_checkpoint(f"epoch{self.progress.epoch}", *pack(self.progress, self.poses, self.model, self.optimisers))
        self._saved_at = time.monotonic()

    def _save_if_due(self) -> None:
        """After a while, and where it was asked to stop: then stop."""
        should_stop = self.reporter.should_stop()
        if should_stop or time.monotonic() - self._saved_at > SECONDS_BETWEEN_CHECKPOINTS:
            self._save()
        if should_stop:
            raise JobStopped(f"stopped in epoch {self.progress.epoch}")
