"""Where structures differ is found, and unseen images gain by it; where there is nothing to gain nothing changes."""

import numpy as np
import pytest
import torch

from cryodrake.inference.states_about_poses import infer_about_poses
from cryodrake.io.mrc import read_map
from cryodrake.physics.fourier import resample_volume
from cryodrake.physics.slices import raster
from cryodrake.training.moving_region import HALVINGS, narrow, strongest_half
from cryodrake.training.subspace import SubspaceFit

BOX, ZDIM, RADIUS = 32, 2, 9.0


class Told(SubspaceFit):
    """Stands in for a fit whose gains are known: of each region free, then shrunk."""

    def __init__(self, gains):
        self.gains, self.asked = iter(gains), 0
        self.region = torch.ones(16, 16, 16)
        self.volumes = torch.randn(3, 16, 16, 16, generator=torch.Generator().manual_seed(0))
        self.regions, self.prior = [self.region], None

    def gain(self, fit):
        self.asked += 1
        return next(self.gains)

    def shrink(self, share):
        self.prior, self.volumes = share, self.volumes / 2

    def free_in(self, region, volumes):
        self.region, self.volumes, self.prior = region, volumes, None

    def run(self):
        self.regions.append(self.region)


@pytest.mark.parametrize(
    ("gains", "best"),
    [
        ([3, 2, 1, 1], 0),  # nothing better in a smaller one
        ([1, 2, 2, 3, 0, 0], 1),
        ([-3, 5, -2, 4, -1, 6, -2, 5], 2),  # free they still gain, though shrunk not yet
        ([-9.0, 0.0, *(float(i) for i in range(1, 2 * HALVINGS + 1))], HALVINGS),
    ],
)
def test_the_best_region_is_kept_free(gains, best):
    fit = Told(gains)
    start = fit.volumes
    found = narrow(fit, fit.gain, 0.1)
    assert torch.equal(found, fit.regions[best])
    assert torch.equal(fit.region, found)
    assert torch.equal(fit.volumes, start)
    assert fit.prior is None
    assert fit.asked == len(gains)
    assert len(fit.regions) == len(gains) // 2  # none is learned that is not asked about


def test_the_strongest_half_is_half_and_holds_what_is_strong():
    fit = Told([])
    fit.volumes = 0.1 * fit.volumes
    fit.volumes[1, 4:9, 4:9, 4:9] += 1
    half = strongest_half(fit.region, fit.volumes)
    assert half[5:8, 5:8, 5:8].min() > 0.9
    assert float((half > 0.5).float().mean()) == pytest.approx(0.5, abs=0.1)
    assert 0 <= float(half.min()) <= float(half.max()) <= 1


def test_components_go_where_it_moves_and_unseen_images_gain(hinge):
    guess = torch.randn(hinge.store.n, ZDIM, generator=torch.Generator().manual_seed(0))
    first, second = (torch.nonzero(hinge.half == h).squeeze(1) for h in (1, 2))
    mean = hinge.mean * hinge.mask
    fit = SubspaceFit(hinge.images, first, hinge.rotation[first], hinge.shift_px[first], mean, hinge.mask, guess[first], RADIUS)
    fit.run()

    def gain(fit):
        poses = second, hinge.rotation[second], hinge.shift_px[second]
        found = [infer_about_poses(hinge.images, *poses, raster(v, fit.grid), fit.grid) for v in (fit.volumes, fit.volumes[:1])]
        return float((found[0].log_marginal - found[1].log_marginal).mean())

    whole, before = fit.region, gain(fit)
    narrow(fit, gain, 1 / 8)
    assert gain(fit) > before
    volumes = np.stack([read_map(path)[0] for path in sorted((hinge.data / "truth" / "volumes").glob("state_*.mrc"))])
    moves = resample_volume(torch.from_numpy(volumes.std(0)), whole.shape[-1])
    inside, outside = float((moves * fit.region).sum() / fit.region.sum()), float((moves * whole).sum() / whole.sum())
    assert inside > 1.3 * outside
