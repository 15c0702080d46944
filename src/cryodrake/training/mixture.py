"""Images of several structures told apart: maps of classes at low resolution, found one after another.

The first map is one of all images. Where many hold surprisingly little of the map they fit best, they are images of something
else: a map is made of them alone, from random poses. Else, or where that map cannot hold its images, each class is split, from
random poses, into two that are held at equal shares until they have parted, and the split that gains the most likelihood is kept.
Then all maps share all images anew, by EM over classes and poses. So it goes until there are as many as were asked for. Classes
that all begin at random share the commonest structure among them and overlook the rare (docs/log.md).
"""

import math
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from cryodrake.data.coefficients import CoefficientStore
from cryodrake.inference.alignment import align
from cryodrake.inference.reference import Reference, box_for_radius, in_box
from cryodrake.physics.grids import ring_base, shift_grid
from cryodrake.physics.turns import turned
from cryodrake.training.bootstrap import BATCH, SCHEDULE, Bootstrap, Stage
from cryodrake.training.estimates import image_amplitudes
from cryodrake.training.events import AbstractReporter, stop_if_asked
from cryodrake.training.images import WeightedImages
from cryodrake.training.likeness import of_one_structure
from cryodrake.training.refinement import SHIFT_EXTENT
from cryodrake.training.searches import SURPRISING
from cryodrake.training.starts import SHIFT_STEP_PX
from cryodrake.training.state import RunState

SPACING_DEG = 15.0
SHARED = Stage(12, SPACING_DEG, SCHEDULE[-1].last_radius, SCHEDULE[-1].last_radius, rate=1.0, momentum=0.5, is_whole=True)
BALANCED = tuple(replace(stage, is_balanced=True) for stage in SCHEDULE)
SETTLED = 0.01  # of the images that change their class: nearly none
MANY = 1.5  # times as many as hold surprisingly much of it, where another class was asked for (unasked: `searches.misfits`)
LEAST_IMAGES = 200  # that a map can begin with
WORTHWHILE = 0.03  # relative gain of a split: one structure, still or moving, below 0, several 0.05 to 0.6 (docs/log.md)
LEAST_STEPS = 3  # of EM, before two maps may be told to be of one structure
ASKED = 10_000  # images of a class, at most, that tell whether it is worth a split
LEAST_LOG_MARGINAL = 10.0  # per image, of a class whose relative gain means anything: noise alone has 1
FITTING = 0.0  # images that hold less of their map than this look for their shift again


@dataclass(frozen=True, eq=False)
class Mixture:
    """What is known of n images and c classes.

    Attributes:
        maps: in the reduced box of `Bootstrap`, each in a frame of its own.
        posterior: probability of each class; shift_probability: of each node of the shifts' lattice.
        surprise: how much less of its likeliest class's map an image holds than is usual there, in standard deviations.
    """

    maps: Float[Tensor, "c d d d"]
    posterior: Float[Tensor, "n c"]
    shift_probability: Float[Tensor, "n t"]
    surprise: Float[Tensor, " n"]

    @property
    def label(self) -> Int64[Tensor, " n"]:
        """Likeliest class, from 0."""
        return self.posterior.argmax(1)


@dataclass(frozen=True, eq=False)
class Several:
    """What proved to be of several structures.

    Attributes:
        own: the run as it was taken for one structure's, which that of class 0 is; None where its map was of none of them.
    """

    mixture: Mixture
    own: RunState | None


class Classification:
    """How mixtures of a data set are made; soft assignment to classes and poses as in Scheres et al. (2007, Nat. Methods 4, 27).

    Its methods raise JobStopped where the reporter asks for it.

    Args:
        mask_radius: of the particle, as a fraction of the box.
    """

    def __init__(self, store: CoefficientStore, mask_radius: float, seed: int, reporter: AbstractReporter):
        self.store, self.mask_radius, self.seed, self.reporter = store, mask_radius, seed, reporter
        self.lattice_px = shift_grid(SHIFT_EXTENT * store.box, SHIFT_STEP_PX).to(store.device)

    def first(self) -> Mixture:
        """One class of all images."""
        everyone = torch.arange(self.store.n, device=self.store.device)
        start = self._start(everyone, SCHEDULE, 1, 0, "class 1: a map of all images")
        return self._shared(start.volumes, start.shift_probability)

    def of_refined(self, state: RunState) -> Mixture:
        """One class of all images, as a refinement has left it."""
        box = box_for_radius(min(SHARED.last_radius, self.store.box / 2), self.store.box)
        known = self._near_shifts(state.shift_px)
        everyone = torch.ones(self.store.n, 1, device=self.store.device)
        return Mixture(in_box(state.maps.mean((0, 1)), box)[None], everyone, known, state.surprise)

    def _near_shifts(self, shift_px: Float[Tensor, "n 2"]) -> Float[Tensor, "n t"]:
        """Nearly all probability at the nodes of the lattice that are closest."""
        return torch.softmax(-0.5 * (torch.cdist(shift_px, self.lattice_px) / SHIFT_STEP_PX).square(), 1)

    def with_another(self, mixture: Mixture) -> Mixture:
        """One class more, or as many as before where none is large enough to be parted."""
        if int(torch.bincount(mixture.label).max()) < LEAST_IMAGES:
            return mixture
        rows = torch.nonzero(mixture.surprise < SURPRISING).squeeze(1)
        by_chance = int((mixture.surprise > -SURPRISING).sum())
        found = self.apart(mixture, rows) if len(rows) >= MANY * by_chance else None
        return found or self.split(mixture, -math.inf) or mixture

    def apart(self, mixture: Mixture, rows: Int64[Tensor, " m"]) -> Mixture | None:
        """One class more, that begins with these images, which fit badly; None where its map is too poor to hold images."""
        c = len(mixture.maps)
        if len(rows) < LEAST_IMAGES:
            return None
        start = self._start(rows, SCHEDULE, 1, c, f"class {c + 1}: a map of {len(rows):,} images that fit badly")
        known = mixture.shift_probability.masked_fill((mixture.surprise < FITTING)[:, None], 0)
        known[rows] = start.shift_probability
        found = self._shared(torch.cat([mixture.maps, start.volumes]), known)
        return found if int(torch.bincount(found.label, minlength=c + 1).min()) >= LEAST_IMAGES else None

    def split(self, mixture: Mixture, least: float) -> Mixture | None:
        """One class in two: that whose likelihood grows the most, as a share of what it is; None where that is below `least`.

        Where halves of any are of different structures, of those: two maps of one may gain as much as two of three.
        """
        found = []
        for c in range(len(mixture.maps)):
            if len(_asked(mixture, c)) >= LEAST_IMAGES:
                gain, two = self.in_two(mixture, c, least)
                if gain > least:
                    found.append((gain, c, two))
        if not found:
            return None
        different = [one for one in found if len(found) > 1 and one[2].are_different]
        _, c, two = max(different or found, key=lambda one: one[0])
        maps = torch.cat([mixture.maps[:c], mixture.maps[c + 1 :], two.maps])
        anew = mixture.shift_probability.index_fill(0, torch.nonzero(mixture.label == c).squeeze(1), 0)
        return self._shared(maps, anew.index_copy(0, _asked(mixture, c), two.shift_probability))

    def in_two(self, mixture: Mixture, c: int, least: float = -math.inf) -> "tuple[float, _Sharing]":
        """The images of class c, or `ASKED` of them, shared among two maps, and by how much likelier that makes them, as a share.

        Two maps of one thing may be a finer grid of poses, which brings some per cent where images are in their own references;
        as halves exchange their maps, images forget that. So where the share has fallen below `least` it need not go on.
        """
        rows = _asked(mixture, c)
        words = "asking whether there are two structures"
        if len(mixture.maps) > 1:
            words = f"class {len(mixture.maps) + 1}: trying to split class {c + 1}"
        start = self._start(rows, BALANCED, 2, len(mixture.maps) * (c + 2), words)
        one = self._em(rows, mixture.maps[c][None], mixture.shift_probability[rows])
        unit = max(one.log_marginal, LEAST_LOG_MARGINAL)
        two = self._em(rows, start.volumes, start.shift_probability, one.log_marginal + least * unit)
        return (two.log_marginal - one.log_marginal) / unit, two

    def _images(self, rows: Int64[Tensor, " m"]) -> WeightedImages:
        """Some of them, all with scale 1: while the map is poor nothing tells scales."""
        return WeightedImages(self.store.select(rows), self.store.noise, torch.ones(len(rows), device=rows.device))

    def _start(self, rows: Int64[Tensor, " m"], schedule: tuple[Stage, ...], classes: int, number: int, words: str) -> Bootstrap:
        """A bootstrap of some images, run to its end; `number` tells it from others."""
        seed = self.seed * 1000 + 300 + number
        start = Bootstrap(self._images(rows), len(rows), self.lattice_px, self.mask_radius, seed, schedule, classes)
        self.reporter.phase(f"classes {number}", start.total_steps, words)
        done = 0
        while not start.done:
            start.step()
            done += 1
            self.reporter.step(done, particles=min(BATCH, len(rows)))
            stop_if_asked(self.reporter, "classes")
        return start

    def _em(
        self, rows: Int64[Tensor, " m"], maps: Float[Tensor, "c d d d"], known: Float[Tensor, "m t"], least: float = -math.inf
    ) -> "_Sharing":
        """EM of some images from these maps, over-relaxed, until hardly any changes its class or all fall below that likelihood.

        Each half of the images is scored against the maps of the other: an image that sees itself stays where it is.
        """
        halves = [torch.arange(h, len(rows), 2, device=rows.device) for h in (0, 1)]
        runs = []
        for half in halves:
            images = self._images(rows[half])
            runs.append(Bootstrap(images, len(half), self.lattice_px, self.mask_radius, self.seed, (SHARED,), len(maps), maps))
            runs[-1].shift_probability.copy_(known[half])
        moved, done, log_marginal = 1.0, 0, math.inf
        self.reporter.phase(f"sharing {len(maps)}", SHARED.steps, f"sharing {len(rows):,} images among {len(maps)} maps")
        while not runs[0].done and moved > SETTLED and (done < LEAST_STEPS or log_marginal >= least):
            before = [run.class_probability.argmax(1) for run in runs]
            runs[0].volumes, runs[1].volumes = runs[1].volumes, runs[0].volumes
            log_marginal = sum(run.step() * len(half) for run, half in zip(runs, halves, strict=True)) / len(rows)
            changed = [run.class_probability.argmax(1) != label for run, label in zip(runs, before, strict=True)]
            moved, done = float(torch.cat(changed).float().mean()) if done else 1.0, done + 1
            self.reporter.step(done, particles=len(rows))
            stop_if_asked(self.reporter, "classes")
        return _Sharing.of(runs, log_marginal)

    def _shared(self, maps: Float[Tensor, "c d d d"], known: Float[Tensor, "n t"]) -> Mixture:
        """All images among these maps."""
        found = self._em(torch.arange(self.store.n, device=self.store.device), maps, known)
        return Mixture(found.maps, found.posterior, found.shift_probability, self._surprise(found))

    def _surprise(self, found: "_Sharing") -> Float[Tensor, " n"]:
        """Of each image in its likeliest class at its likeliest pose there."""
        rotation = turned(ring_base(SPACING_DEG, self.store.device))[found.best_rotation]
        label, shift_px = found.posterior.argmax(1), self.lattice_px[found.best_shift]
        surprise = torch.zeros(self.store.n, device=self.store.device)
        for c, volume in enumerate(found.maps):
            mine = label == c
            if not bool(mine.any()):
                continue
            reference = Reference.build(in_box(volume, self.store.box), min(SHARED.last_radius, self.store.box / 2))
            of_class = torch.where(mine, 0, -1)
            amplitudes = image_amplitudes(self.store, [reference], of_class, rotation, shift_px, self.store.noise)
            surprise[mine] = amplitudes.surprise[mine]
        return surprise


def _asked(mixture: Mixture, c: int) -> Int64[Tensor, " m"]:
    """Images of class c, evenly spaced where they are very many."""
    rows = torch.nonzero(mixture.label == c).squeeze(1)
    return rows[:: max(1, -(-len(rows) // ASKED))]


@dataclass(frozen=True, eq=False)
class _Sharing:
    """Where EM ended: as in `Mixture`, and each image's likeliest nodes of the grids in its likeliest class."""

    maps: Float[Tensor, "c d d d"]
    posterior: Float[Tensor, "m c"]
    shift_probability: Float[Tensor, "m t"]
    best_rotation: Int64[Tensor, " m"]
    best_shift: Int64[Tensor, " m"]
    log_marginal: float

    @property
    def are_different(self) -> bool:
        """Whether two maps are of different structures, each with enough images to be of any."""
        least = int(torch.bincount(self.posterior.argmax(1), minlength=len(self.maps)).min())
        return least >= LEAST_IMAGES and not of_one_structure(align(self.maps[0].cpu(), self.maps[1].cpu()))

    @classmethod
    def of(cls, runs: list[Bootstrap], log_marginal: float) -> "_Sharing":
        """The halves' runs together: the images of the first and the second in turn."""

        def whole(name: str) -> Tensor:
            first, second = (getattr(run, name) for run in runs)
            table = first.new_empty(len(first) + len(second), *first.shape[1:])
            table[0::2], table[1::2] = first, second
            return table

        return cls(
            torch.stack([run.volumes for run in runs]).mean(0),
            whole("class_probability"),
            whole("shift_probability"),
            whole("best_rotation"),
            whole("best_shift"),
            log_marginal,
        )
