"""Images of several structures told apart: maps of classes at low resolution, found one after another.

The first map is one of all images. Those that hold surprisingly little of the map they fit best are images of something else:
a map is made of them alone, from random poses, and turned into the frame of the largest class. Then all maps share all
images anew, in a few rounds of plain EM over classes and poses. So it goes until there are as many classes as were asked for.
Classes that all begin at random share the commonest structure among them and overlook the rare ones (docs/log.md).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Complex, Float, Int64
from torch import Tensor

from cryodrake.data.coefficients import CoefficientStore
from cryodrake.inference.alignment import align, move
from cryodrake.inference.reference import Reference
from cryodrake.inference.source import AbstractImages
from cryodrake.physics.fourier import centred_resize, coeff_to_volume, volume_to_coeff
from cryodrake.physics.grids import shift_grid, spiral_rotations
from cryodrake.training.bootstrap import BATCH, SCHEDULE, Bootstrap, Stage
from cryodrake.training.estimates import image_amplitudes
from cryodrake.training.images import WeightedImages
from cryodrake.training.refinement import SHIFT_EXTENT
from cryodrake.training.starts import SHIFT_STEP_PX

SPACING_DEG = 15.0
SHARED = Stage(4, SPACING_DEG, SCHEDULE[-1].last_radius, SCHEDULE[-1].last_radius, rate=1.0, momentum=0.0, whole=True)
SURPRISING = -2.0  # standard deviations, within its class
LEAST_IMAGES, LEAST_SHARE = 300, 0.05  # that a new class begins with: the most surprising, where fewer are surprising
FITTING = 0.0  # images that hold less of their map than this look for their shift again

Tell = Callable[[int], None]


@dataclass(frozen=True, eq=False)
class Mixture:
    """What is known of n images and c classes.

    Attributes:
        maps: in the reduced box of `Bootstrap`.
        posterior: probability of each class; shift_probability: of each node of the shifts' lattice.
        surprise: how much less of its likeliest class's map an image holds than is usual there, in standard deviations.
        log_marginal: mean per image.
    """

    maps: Float[Tensor, "c d d d"]
    posterior: Float[Tensor, "n c"]
    shift_probability: Float[Tensor, "n t"]
    surprise: Float[Tensor, " n"]
    log_marginal: float

    @property
    def label(self) -> Int64[Tensor, " n"]:
        """Likeliest class, from 0."""
        return self.posterior.argmax(1)


class Classification:
    """How mixtures of a data set are made.

    Args:
        mask_radius: of the particle, as a fraction of the box.
        tell: hears how many steps are done.
    """

    def __init__(self, store: CoefficientStore, mask_radius: float, seed: int, tell: Tell):
        self.store, self.mask_radius, self.seed, self.tell = store, mask_radius, seed, tell
        self.images = WeightedImages(store, store.noise, torch.ones(store.n, device=store.device))
        self.lattice_px = shift_grid(SHIFT_EXTENT * store.box, SHIFT_STEP_PX).to(store.device)

    @property
    def steps(self) -> int:
        """Of one more class, in batches of images."""
        return sum(stage.steps for stage in SCHEDULE) + self.steps_of_sharing

    @property
    def steps_of_sharing(self) -> int:
        """Of the first."""
        return SHARED.steps * math.ceil(self.store.n / BATCH)

    def first(self, volume: Float[Tensor, "d d d"]) -> Mixture:
        """One class of all images, from a map in the reduced box."""
        return self._shared(volume[None], torch.zeros(self.store.n, len(self.lattice_px), device=self.store.device), 0)

    def with_another(self, mixture: Mixture) -> Mixture:
        """One class more: of the images that fit worst, to begin with."""
        rows = surprising_rows(mixture.surprise)
        start = Bootstrap(
            _Part(self.images, rows), len(rows), self.lattice_px, self.mask_radius, self.seed * 1000 + 300 + len(mixture.maps)
        )
        done = 0
        while not start.done:
            start.step()
            done += 1
            self.tell(done)
        largest = mixture.maps[int(torch.bincount(mixture.label).argmax())].cpu()
        new = start.volumes[0].cpu()
        turned = move(new, align(largest, new)).to(self.store.device)
        known = mixture.shift_probability.masked_fill((mixture.surprise < FITTING)[:, None], 0)
        known[rows] = start.shift_probability
        return self._shared(torch.cat([mixture.maps, turned[None]]), known, self.steps - self.steps_of_sharing)

    def _shared(self, maps: Float[Tensor, "c d d d"], known: Float[Tensor, "n t"], done: int) -> Mixture:
        """Plain EM from these maps."""
        n = self.store.n
        em = Bootstrap(self.images, n, self.lattice_px, self.mask_radius, self.seed, (SHARED,), maps)
        em.shift_probability.copy_(known)
        log_marginal = 0.0
        while not em.done:
            log_marginal = em.step()
            done += math.ceil(n / BATCH)
            self.tell(done)
        return Mixture(em.volumes, em.class_probability, em.shift_probability, self._surprise(em), log_marginal)

    def _surprise(self, em: Bootstrap) -> Float[Tensor, " n"]:
        """Of each image in its likeliest class at its likeliest pose there."""
        rotation = spiral_rotations(SPACING_DEG, self.store.device)[em.best_rotation]
        label, shift_px = em.class_probability.argmax(1), self.lattice_px[em.best_shift]
        surprise = torch.zeros(self.store.n, device=self.store.device)
        for c, volume in enumerate(em.volumes):
            reference = Reference.build(_enlarged(volume, self.store.box), em.grid.radius)
            mine = label == c
            if not bool(mine.any()):
                continue
            of_class = torch.where(mine, 0, -1)
            found = image_amplitudes(self.store, [reference], of_class, rotation, shift_px, self.store.noise)
            surprise[mine] = found.surprise[mine]
        return surprise


def surprising_rows(surprise: Float[Tensor, " n"]) -> Int64[Tensor, " m"]:
    """Rows, ascending, that a new class begins with."""
    least = min(max(LEAST_IMAGES, math.ceil(LEAST_SHARE * len(surprise))), len(surprise))
    count = max(int((surprise < SURPRISING).sum()), least)
    return surprise.argsort(stable=True)[:count].sort().values


class _Part(AbstractImages):
    """Some of the images."""

    def __init__(self, images: AbstractImages, rows: Int64[Tensor, " m"]):
        self.images, self.rows, self.disc = images, rows, images.disc

    def matched(self, rows: Int64[Tensor, " b"], k: int) -> tuple[Complex[Tensor, "b k"], Float[Tensor, "b k"]]:
        return self.images.matched(self.rows[rows], k)


def _enlarged(volume: Float[Tensor, "d d d"], box: int) -> Float[Tensor, "d2 d2 d2"]:
    """The same coefficients in the images' box."""
    return coeff_to_volume(centred_resize(volume_to_coeff(volume), box, 3))
