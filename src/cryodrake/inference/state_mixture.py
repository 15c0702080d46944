"""The distribution of states as a mixture of normals, and the state of each image under it.

A linear model's states are normal until one knows better. Real ones lie along a curve, in a ring or in a few heaps, and an image
that says little of its state is drawn to where others are, not to the middle. Each image's likelihood is normal in z,

    log p(y | z) = pullᵀ z - ½ zᵀ information z + const,

so a mixture's likelihood, its posterior and its EM steps are closed forms, as for points with errors of their own (Bovy, Hogg &
Roweis 2011, Ann. Appl. Stat. 5, 1657, eqs. 13 and 16); here with precisions, for an image may say nothing of some direction. How
many normals is asked of images that they were not fitted to.
"""

import math
from dataclasses import dataclass, replace
from typing import final

import torch
from jaxtyping import Float, Int64
from sklearn.cluster import KMeans
from torch import Tensor

from cryodrake.inference.states import States
from cryodrake.physics.blocks import at_once

FITTED = 3000  # images of each half set
MOST = 64  # normals
STARTS = 5  # of k-means
MOST_STEPS = 60
LITTLE = 0.005  # log likelihood per image and step that is no progress
SURE = 3.0  # standard errors by which twice as many normals must make unseen images likelier
PRIOR_IMAGES = 5.0  # that each covariance has seen beforehand
PRIOR_SHARE = 0.05  # of the covariance of all: theirs
IMAGES_PER_COORDINATE = 10  # and normal, at least
ROWS_AT_ONCE = 1 << 12


@final
@dataclass(frozen=True, eq=False)
class Evidence:
    """What images alone say of their states.

    Attributes:
        pull, information: of the log likelihood, above.
    """

    pull: Float[Tensor, "n z"]
    information: Float[Tensor, "n z z"]

    @classmethod
    def of(cls, states: States) -> "Evidence":
        """Of states under a standard normal prior; in double precision, as a bright image knows far more than that prior."""
        precision = states.precision.double()
        pull = (precision @ states.mean.double()[:, :, None]).squeeze(2)
        values, turn = torch.linalg.eigh(precision)
        return cls(pull, (turn * (values - 1).clamp(min=0)[:, None]) @ turn.mT)


@final
@dataclass(frozen=True, eq=False)
class GaussianMixture:
    """k normals, the prior of states z.

    Attributes:
        share: their weights, which add up to 1.
        centre, covariance: in the coordinates in which one normal's states are standard.
    """

    share: Float[Tensor, " k"]
    centre: Float[Tensor, "k z"]
    covariance: Float[Tensor, "k z z"]

    @classmethod
    def standard(cls, z: int, device: torch.device) -> "GaussianMixture":
        """One standard normal."""
        one = torch.ones(1, dtype=torch.float64, device=device)
        return cls(one, one.new_zeros(1, z), torch.eye(z, dtype=one.dtype, device=device)[None])

    def posterior(self, evidence: Evidence) -> tuple[Float[Tensor, "n k"], Float[Tensor, "n k z"], Float[Tensor, "n k z z"]]:
        """Log of each normal's joint likelihood, up to a constant of the image, and mean and covariance of the states in it."""
        logs, means, covariances = [], [], []
        for share, centre, covariance in zip(self.share, self.centre, self.covariance, strict=True):
            inverse = torch.linalg.inv(covariance)
            from_prior = inverse @ centre
            factor = torch.linalg.cholesky(evidence.information + inverse)
            posterior = torch.cholesky_inverse(factor)
            pull = evidence.pull + from_prior
            mean = (posterior @ pull[:, :, None]).squeeze(2)
            log_det = torch.logdet(covariance) + 2 * torch.diagonal(factor, dim1=1, dim2=2).log().sum(1)
            logs.append(share.log() + 0.5 * ((pull * mean).sum(1) - centre @ from_prior - log_det))
            means.append(mean)
            covariances.append(posterior)
        return torch.stack(logs, 1), torch.stack(means, 1), torch.stack(covariances, 1)

    def log_likelihood(self, evidence: Evidence) -> Float[Tensor, " n"]:
        """Of each image, up to the same constant for all mixtures."""
        return self.posterior(evidence)[0].logsumexp(1)

    def log_density(self, points: Float[Tensor, "p z"]) -> Float[Tensor, " p"]:
        """Of states."""
        apart = points[:, None] - self.centre
        distance = torch.einsum("pkz,kzy,pky->pk", apart, torch.linalg.inv(self.covariance), apart)
        z = points.shape[1]
        return (self.share.log() - 0.5 * (torch.logdet(self.covariance) + distance + z * math.log(2 * math.pi))).logsumexp(1)

    def states(self, evidence: Evidence) -> tuple[Float[Tensor, "n z"], Float[Tensor, "n z z"], Float[Tensor, "n k"]]:
        """Mean and covariance of each image's state, and the chance that it is of each normal."""
        logs, mean, covariance = self.posterior(evidence)
        chance = logs.softmax(1)
        middle = torch.einsum("nk,nkz->nz", chance, mean)
        apart = mean - middle[:, None]
        return middle, torch.einsum("nk,nkyz->nyz", chance, covariance + apart[..., :, None] * apart[..., None, :]), chance

    def step(self, evidence: Evidence, background: Float[Tensor, "z z"]) -> tuple["GaussianMixture", float]:
        """One of EM, and the mean log likelihood before it. background: a covariance of which each normal has seen a little."""
        logs, mean, covariance = self.posterior(evidence)
        chance = logs.softmax(1)
        images = chance.sum(0)
        centre = torch.einsum("nk,nkz->kz", chance, mean) / images.clamp(min=1e-9)[:, None]
        apart = mean - centre
        total = torch.einsum("nk,nkyz->kyz", chance, covariance + apart[..., :, None] * apart[..., None, :])
        spread = (total + PRIOR_IMAGES * background) / (images + PRIOR_IMAGES)[:, None, None]
        return GaussianMixture((images + 1) / (images + 1).sum(), centre, spread), float(logs.logsumexp(1).mean())


def fit(evidence: Evidence, k: int, seed: int) -> GaussianMixture:
    """k normals by EM from k-means, of this seed, of the states as they are under a standard normal."""
    start, known, _ = GaussianMixture.standard(evidence.pull.shape[1], evidence.pull.device).states(evidence)
    found = KMeans(k, n_init=STARTS, random_state=seed).fit(start.cpu().numpy())
    label, centre = torch.from_numpy(found.labels_).to(start.device).long(), torch.from_numpy(found.cluster_centers_).to(start)
    within, around = start - centre[label], start - start.mean(0)
    covariance = known.mean(0) + within.T @ within / len(start)
    background = PRIOR_SHARE * (known.mean(0) + around.T @ around / len(start))
    mixture = GaussianMixture(torch.bincount(label, minlength=k) / len(label), centre, covariance.expand(k, -1, -1))
    last = -math.inf
    for _ in range(MOST_STEPS):
        mixture, log_likelihood = mixture.step(evidence, background)
        if log_likelihood - last < LITTLE:
            break
        last = log_likelihood
    return mixture


def learn(states: States, half: Int64[Tensor, " n"], seed: int) -> GaussianMixture:
    """The mixture of as many normals as half set 1 can teach half set 2; the standard normal where more are not surely better.

    Args:
        states: under a standard normal prior.
        half: 1 or 2.
        seed: of the images that are taken, and of k-means.
    """
    generator = torch.Generator().manual_seed(seed)
    rows = [torch.nonzero(half == h).squeeze(1) for h in (1, 2)]
    some = [r[torch.randperm(len(r), generator=generator)[:FITTED].to(r.device)] for r in rows]
    taught, asked = (Evidence.of(states[r]) for r in some)
    z = states.mean.shape[1]
    normal = GaussianMixture.standard(z, states.mean.device)
    before, chosen, k = normal.log_likelihood(asked), 1, 2
    while k <= min(MOST, len(taught.pull) // (IMAGES_PER_COORDINATE * z)):
        likely = fit(taught, k, seed).log_likelihood(asked)
        gain = likely - before
        if float(gain.mean()) > SURE * float(gain.std()) / len(gain) ** 0.5:
            before, chosen = likely, k
        elif k > 2:  # of a ring two normals are no better than one
            break
        k *= 2
    if chosen == 1:
        return normal
    return fit(Evidence.of(states[torch.cat(some)]), chosen, seed)


def under(mixture: GaussianMixture, states: States) -> tuple[States, Float[Tensor, "n k"]]:
    """States of a standard normal prior as they are where the mixture is the prior, and of which normal each is, as chances.

    Their likelihoods and amplitudes are left as they were.
    """
    everyone = torch.arange(len(states.mean), device=states.mean.device)
    parts = [mixture.states(Evidence.of(states[rows])) for rows in everyone.split(at_once(ROWS_AT_ONCE, everyone.device))]
    mean, covariance, chance = (torch.cat(values) for values in zip(*parts, strict=True))
    return replace(states, mean=mean.to(states.mean), precision=torch.linalg.inv(covariance).to(states.precision)), chance
