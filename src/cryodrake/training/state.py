"""All that a run needs to go on: plain tensors and numbers, saved as one checkpoint after every step that took seconds.

A step is a pure function of this state and the options, with generators seeded by step number, so a resumed run repeats an
uninterrupted one bit for bit on a CPU.
"""

from dataclasses import dataclass, field, fields, replace
from typing import Any

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from cryodrake.errors import InputError
from cryodrake.training.local_filter import BANDS

OF_IMAGES = (
    "rotation", "shift_px", "joint_rotation", "joint_shift_px", "joint_scale", "half", "confidence", "sigma_deg", "rival",
    "is_part", "scale", "surprise", "latents", "precision", "group",
)  # fmt: skip


@dataclass(eq=False)
class RunState:
    """The homogeneous run. n particles, g optics groups, s shells, d box.

    Attributes:
        phase: what comes next: "bootstrap", "refine", "parts" (where zdim is not 0 or images are of two kinds), "join", "states"
            (where zdim is not 0) or "finish".
        iteration: refinement iterations done; active: number of images in use, all of them before it ends.
        radius: Fourier radius of the next search, cycles per box.
        rotation, shift_px: current poses; half: 1 or 2.
        joint_rotation, joint_shift_px, joint_scale: poses and scales from maps of both halves, after the phase "join".
        confidence: probability that the pose's basin is the right one; sigma_deg: standard deviation of the rotation in it.
        rival: how each image's closest competitor lies, NaN where there is none; operators: the symmetry found from them.
        is_part: whether the image holds only a part of the structure, and was posed against that.
        noise, scale: see `WeightedImages`; surprise: see `estimates.Amplitudes`.
        maps: (2 f d d d) references of the half sets' folds, filtered and masked; before the halves part, the same map throughout.
        fsc: (s,) between the half maps.
        latents, precision: posterior mean and precision of each image's state; group: which of the groups that states fall into
            it is in, from 0, the largest first; components (r d d d): mean and components of the maps, unfiltered;
            mean_noise (b), component_noise (b z z): variance and covariance of their noise, by bands of shells (`local_filter`).
        gain: log likelihood per unseen image that states bring, None while nobody has asked; is_flexible: whether that is more
            than chance; is_local: whether components are filtered while they are learned.
        start_maps: the starts' maps in their reduced box; starts: one entry per start; history: one entry per refinement
            iteration; rounds: one per round of states.
    """

    rotation: Float[Tensor, "n 3 3"]
    shift_px: Float[Tensor, "n 2"]
    joint_rotation: Float[Tensor, "n 3 3"]
    joint_shift_px: Float[Tensor, "n 2"]
    joint_scale: Float[Tensor, " n"]
    half: Int64[Tensor, " n"]
    confidence: Float[Tensor, " n"]
    sigma_deg: Float[Tensor, " n"]
    rival: Float[Tensor, "n 3 3"]
    operators: Float[Tensor, "o 3 3"]
    is_part: Bool[Tensor, " n"]
    noise: Float[Tensor, "g s"]
    scale: Float[Tensor, " n"]
    surprise: Float[Tensor, " n"]
    maps: Float[Tensor, "2 f d d d"]
    fsc: Float[Tensor, " s"]
    start_maps: Float[Tensor, "m d2 d2 d2"]
    latents: Float[Tensor, "n z"]
    precision: Float[Tensor, "n z z"]
    group: Int64[Tensor, " n"]
    components: Float[Tensor, "r d d d"]
    mean_noise: Float[Tensor, " b"]
    component_noise: Float[Tensor, "b z z"]
    phase: str = "bootstrap"
    iteration: int = 0
    active: int = 0
    radius: float = 0.0
    gain: float | None = None
    is_flexible: bool = False
    is_local: bool = False
    starts: list[dict[str, Any]] = field(default_factory=list)
    history: list[dict[str, Any]] = field(default_factory=list)
    rounds: list[dict[str, Any]] = field(default_factory=list)

    @classmethod
    def first(cls, half: Tensor, noise: Tensor, box: int, zdim: int = 0) -> "RunState":
        """Nothing known but the noise and the half sets."""
        n, device = len(half), noise.device
        return cls(
            rotation=torch.eye(3, device=device).expand(n, 3, 3).clone(),
            shift_px=torch.zeros(n, 2, device=device),
            joint_rotation=torch.eye(3, device=device).expand(n, 3, 3).clone(),
            joint_shift_px=torch.zeros(n, 2, device=device),
            joint_scale=torch.ones(n, device=device),
            half=half.to(device),
            confidence=torch.zeros(n, device=device),
            sigma_deg=torch.zeros(n, device=device),
            rival=torch.full((n, 3, 3), torch.nan, device=device),
            operators=torch.eye(3, device=device)[None],
            is_part=torch.zeros(n, dtype=torch.bool, device=device),
            noise=noise,
            scale=torch.ones(n, device=device),
            surprise=torch.zeros(n, device=device),
            maps=torch.zeros(2, 0, box, box, box, device=device),
            fsc=torch.zeros(box // 2 + 1, device=device),
            start_maps=torch.zeros(0, 0, 0, 0, device=device),
            latents=torch.zeros(n, zdim, device=device),
            precision=torch.zeros(n, zdim, zdim, device=device),
            group=torch.zeros(n, dtype=torch.int64, device=device),
            components=torch.zeros(0, box, box, box, device=device),
            mean_noise=torch.zeros(BANDS + 1, device=device),
            component_noise=torch.zeros(BANDS + 1, zdim, zdim, device=device),
            active=n,
        )

    def on_images(self, rows: Int64[Tensor, " m"]) -> "RunState":
        """A run on some of the images that goes on with refining where this one is. Its maps are still of all: make them anew."""
        changed: dict[str, Any] = {name: getattr(self, name)[rows] for name in OF_IMAGES}
        for name in ("starts", "history", "rounds"):  # each run adds to its own
            changed[name] = list(getattr(self, name))
        return replace(self, **changed, phase="refine", active=len(rows))

    def tensors(self) -> dict[str, Tensor]:
        return {f.name: value for f in fields(self) if isinstance(value := getattr(self, f.name), Tensor)}

    def meta(self) -> dict[str, Any]:
        return {f.name: value for f in fields(self) if not isinstance(value := getattr(self, f.name), Tensor)}

    @classmethod
    def restore(cls, tensors: dict[str, Tensor], meta: dict[str, Any], device: torch.device) -> "RunState":
        """Inverse of `tensors` and `meta`.

        Raises:
            InputError: other fields than this version has.
        """
        values: dict[str, Any] = {name: tensor.to(device) for name, tensor in tensors.items()} | meta
        if values.keys() != {f.name for f in fields(cls)}:
            raise InputError(
                "the job's checkpoint is of another version of cryodrake",
                expected="one that this version has written",
                do="go on with the version that began the job, or begin it anew in another folder",
            )
        return cls(**values)
