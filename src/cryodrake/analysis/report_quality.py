"""How good a job's result is, in words, and what the words do not cover.

Every sentence is made from what the job folder says (status.json, job.toml, fsc.csv, diagnostics.json); the report only sets them.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float

from cryodrake.analysis.viewing import Coverage
from cryodrake.physics.fsc import resolution_A

Level = Literal["good", "caution", "bad", "note"]

CONFIDENT = 0.9  # share of sure images below which the report warns
MASK_GAIN = 1.3  # how much finer the masked resolution may be than the unmasked one before the mask is under suspicion
FEW = 2000  # images: below, everything is a first look


@dataclass(frozen=True)
class Statement:
    """A sentence for the reader, and how it is to be taken."""

    level: Level
    words: str


@dataclass(frozen=True)
class Curve:
    """maps/fsc.csv.

    Attributes:
        frequency_inv_A: of each shell, from the first.
        fsc: of the half maps inside the mask.
        unmasked: of the half maps as they are.
    """

    frequency_inv_A: Float[np.ndarray, " s"]
    fsc: Float[np.ndarray, " s"]
    unmasked: Float[np.ndarray, " s"]

    def resolution_A(self, threshold: float, is_masked: bool = True) -> float | None:
        """Where the curve first falls below the threshold (`physics.fsc`); None where it never does."""
        values = self.fsc if is_masked else self.unmasked
        if (values >= threshold).all():
            return None
        with_mean = torch.from_numpy(np.concatenate([[1.0], values]))
        return resolution_A(with_mean, threshold, 1 / float(self.frequency_inv_A[0]))

    @property
    def finest_A(self) -> float:
        """The last shell, in Å."""
        return float(1 / self.frequency_inv_A[-1])


def statements(
    command: str,
    options: Mapping[str, Any],
    status: Mapping[str, Any],
    n: int,
    curve: Curve | None,
    views: Coverage | None,
    diagnosis: Mapping[str, Any] | None,
) -> list[Statement]:
    """What is to be said, the verdict first.

    Args:
        command: abinit, train or backproject.
        options: those of job.toml.
        status: status.json.
        n: number of particles.
        curve: the half maps' FSC, where there is one.
        views: how evenly the structure was seen, where there are poses.
        diagnosis: analysis/diagnostics.json, where the job was analysed.
    """
    found = [_verdict(status)]
    found += [Statement("caution", str(text)) for text in status.get("warnings") or () if text != status.get("verdict")]
    if curve is not None:
        found += _on_resolution(curve)
    if views is not None:
        levels: dict[str, Level] = {"even": "good", "uneven": "caution", "poor": "bad"}
        found.append(Statement(levels[views.verdict], views.words))
    found += _on_poses(command, options, status)
    found += _on_states(options, status, diagnosis)
    if n < FEW:
        found.append(Statement("caution", f"{n:,} particles are few: take this for a first look."))
    return found


def statements_on_classes(status: Mapping[str, Any], n_classes: int) -> list[Statement]:
    """What is to be said of the whole of a job with classes, the verdict first; the rest is each class's own."""
    found = [_verdict(status)]
    found += [Statement("caution", str(text)) for text in status.get("warnings") or () if text != status.get("verdict")]
    words = "Each class was reconstructed on its own: it has a frame, a hand, a map and an FSC of its own, and its section below."
    return [*found, Statement("note", words)] if n_classes else found


def _verdict(status: Mapping[str, Any]) -> Statement:
    state, words = status.get("state"), str(status.get("verdict") or "")
    if state == "failed":
        return Statement("bad", f"The job failed: {words or 'no reason is on record'}")
    if state != "finished":
        return Statement("caution", f"The job is not finished (it is {state}): what follows is what there is so far.")
    level: Level = {True: "good", False: "bad"}.get(status.get("converged"), "note")  # type: ignore[arg-type, assignment]
    return Statement(level, words[:1].upper() + words[1:] or "The job is finished; it has no test of convergence.")


def _on_resolution(curve: Curve) -> Iterator[Statement]:
    finest, strict, bare = curve.resolution_A(0.143), curve.resolution_A(0.5), curve.resolution_A(0.143, is_masked=False)
    # The last shell is the images' Nyquist frequency, half of which is missing: a curve that falls only there has not fallen.
    if finest is None or (len(curve.frequency_inv_A) > 1 and finest < 1 / curve.frequency_inv_A[-2]):
        yield Statement(
            "note",
            f"The half maps agree to the last shell, {curve.finest_A:.1f} Å: the pixel size is the limit, not the data. "
            "Run again with a larger --box.",
        )
        return
    more = "" if strict is None else f", and to {strict:.1f} Å at FSC 0.5"
    yield Statement(
        "note", f"The half maps agree to {finest:.1f} Å at FSC 0.143{more}; the pixels would allow {curve.finest_A:.1f} Å."
    )
    if bare is not None and bare > MASK_GAIN * finest:
        yield Statement(
            "caution",
            f"Without the mask they agree only to {bare:.1f} Å. Some of that is solvent noise that a mask rightly removes; "
            "check with `cryodrake fsc` and a mask of your own that the mask does not make the agreement.",
        )
    yield Statement("note", "FSC says that the halves agree, not that they are right: both can share a mistake. Look at the map.")


def _on_poses(command: str, options: Mapping[str, Any], status: Mapping[str, Any]) -> Iterator[Statement]:
    if command == "abinit" and options.get("preset") == "cryodrgn2":
        yield Statement("caution", "One network of all images gave both half sets their poses: this FSC is too good.")
    elif command == "abinit":
        yield Statement(
            "note",
            "After the common start each half set was posed against its own map only, so their FSC is honest beyond the resolution "
            "of the start. Poses in particles.star are better ones, from both halves together.",
        )
        yield Statement("note", "The hand is arbitrary, as in every map from nothing: `cryodrake export --flip` gives the other.")
    else:
        yield Statement("caution", "The poses were given: whether the half sets are independent is up to where those came from.")
    share = status.get("confident_share")
    if share is not None and share < CONFIDENT:
        yield Statement(
            "caution",
            f"Only {share:.0%} of the images are sure of their orientation: junk, too little contrast, or a symmetry. "
            "`cryodrake filter` can leave the others out.",
        )


def _on_states(options: Mapping[str, Any], status: Mapping[str, Any], diagnosis: Mapping[str, Any] | None) -> Iterator[Statement]:
    if not options.get("zdim"):
        yield Statement("note", "One rigid structure was asked for: whatever moves is blurred. --zdim 4 asks for states.")
        return
    if "no states were found" in str(status.get("verdict")):
        yield Statement("note", "The latents say nothing: states did not make images that the model had not seen more likely.")
        return
    if diagnosis is None:
        yield Statement(
            "caution", "Whether the latents tell states or views was not tested: run `cryodrake analyze`, then this again."
        )
        return
    for leak in diagnosis.get("leaks") or ():
        levels: dict[str, Level] = {"clean": "good", "weak": "caution", "strong": "bad"}
        yield Statement(levels.get(str(leak.get("verdict")), "note"), str(leak.get("words")))
    for note in diagnosis.get("notes") or ():
        yield Statement("note", str(note))
