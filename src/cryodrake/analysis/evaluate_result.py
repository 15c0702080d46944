"""What `evaluate` found, as JSON and in words."""

import json
from dataclasses import asdict, dataclass

from cryodrake.analysis.evaluate_states_result import StatesResult

MAP_IS_RIGHT = 0.6  # FSC-AUC within the mask: a map of two complexes at once has 0.4


@dataclass(frozen=True)
class EvaluationResult:
    """What was found; None where the job has no map, or no poses.

    Attributes:
        n: particles compared; n_empty: of them those that by the truth are none (truth/empty.npy), whose poses count as wrong.
        fsc: unmasked FSC for shells 0 … d/2 of a box of box_A Å; `fsc_masked` in a soft mask around the true density.
        fsc05_A, fsc0143_A: resolutions at which it falls below the threshold.
        rotation_error_…_deg: angle to the true pose after the best global rotation and hand.
        shift_error_…_px: distance to the true position, in pixels of the images, after the best global offset.
        hand: "same" or "mirrored", of the map, or of the poses where there is no map; `hand_of_poses` is theirs.
        global_rotation: A of `inference.alignment`, of the map where there is one.
        map_offset_px: o of the map, in its voxels.
        states: where the truth has several.
        classes: of each class's own job, where the job has classes: their maps and poses are in frames of their own, so there is
            no map and no pose error of the whole.
    """

    n: int
    n_empty: int = 0
    box_A: float | None = None
    fsc: tuple[float, ...] | None = None
    fsc_auc: float | None = None
    fsc_auc_cryobench: float | None = None
    fsc05_A: float | None = None
    fsc0143_A: float | None = None
    fsc_masked: tuple[float, ...] | None = None
    fsc_auc_masked: float | None = None
    fsc05_masked_A: float | None = None
    fsc0143_masked_A: float | None = None
    rotation_error_mean_deg: float | None = None
    rotation_error_median_deg: float | None = None
    rotation_error_p90_deg: float | None = None
    share_within_10_deg: float | None = None
    shift_error_median_px: float | None = None
    shift_error_mean_px: float | None = None
    hand: str | None = None
    hand_of_poses: str | None = None
    global_rotation: tuple[tuple[float, ...], ...] | None = None
    map_offset_px: tuple[float, ...] | None = None
    states: StatesResult | None = None
    classes: tuple["EvaluationResult", ...] = ()

    def to_json(self) -> str:
        """One JSON object, the attributes as keys."""
        return json.dumps(asdict(self), indent=1)

    def summary(self) -> str:
        """The same for people."""
        on_states = self.states.words() if self.states else []
        on_classes = []
        for number, found in enumerate(self.classes, 1):
            on_classes += [f"Class {number}, {found.n:,} particles:", *(f"  {line}" for line in found.summary().split("\n"))]
        on_empty = [f"Of {self.n:,} images {self.n_empty:,} hold no particle."] if self.n_empty else []
        return "\n".join([*_words_on_map(self), *_words_on_poses(self), *on_empty, *on_states, *on_classes])


def _words_on_map(result: EvaluationResult) -> list[str]:
    if result.fsc_auc is None:
        return []
    nyquist_A = 2 * result.box_A / (2 * (len(result.fsc) - 1))  # type: ignore[operator, arg-type]
    to = f"{result.fsc05_A:.1f} Å (FSC 0.5) and {result.fsc0143_A:.1f} Å (0.143)"
    return [
        f"Map: agrees with the true one to {to}; the pixels allow {nyquist_A:.1f} Å.",
        f"  FSC-AUC {result.fsc_auc:.3f}, within a mask {result.fsc_auc_masked:.3f} (1 would be perfect); "
        f"hand: {'the true one' if result.hand == 'same' else 'the mirror image, as good as any without tilted data'}.",
    ]


def _words_on_poses(result: EvaluationResult) -> list[str]:
    if result.rotation_error_median_deg is None:
        return []
    median = result.rotation_error_median_deg
    if median <= 3:
        verdict = "right"
    elif median <= 10:
        verdict = "nearly right"
    elif (result.fsc_auc_masked or 0.0) > MAP_IS_RIGHT:
        verdict = "not the true ones, yet the map is right: poses that a symmetry makes equal need --symmetry (axes as in RELION)"
    elif result.share_within_10_deg > 0.2:  # type: ignore[operator]
        verdict = "right for some particles only"
    else:
        verdict = "wrong: the structure was not found"
    lines = [
        f"Poses: {verdict}. Rotations are off by {median:.2f}° (median), {result.rotation_error_mean_deg:.2f}° (mean), "
        f"{result.rotation_error_p90_deg:.2f}° (90 %); {result.share_within_10_deg:.1%} of {result.n:,} within 10°."
    ]
    if result.shift_error_median_px is not None:
        lines.append(f"  Shifts are off by {result.shift_error_median_px:.2f} px (median).")
    if result.hand_of_poses != result.hand:
        lines.append("  Map and poses fit the truth with opposite hands: at least one of them is wrong.")
    return lines
