"""Whether a run converged, in words: from pose confidence, agreement of the starts, and the half maps' FSC."""

from dataclasses import dataclass, field

import torch

from cryodrake.data.coefficients import CoefficientStore
from cryodrake.physics.fsc import crossing_shell, resolution_A
from cryodrake.training.bootstrap import SCHEDULE
from cryodrake.training.searches import are_two_kinds, misfits
from cryodrake.training.starts import are_of_nothing, confirmed
from cryodrake.training.state import RunState

LEAST_CONFIDENT = 0.5  # share of images whose basin is sure
MOST_TOLD = 12  # groups of states whose shares are told
LEAST_SHELL = SCHEDULE[-1].last_radius + 1  # both halves share the start: FSC must reach beyond what it put in


@dataclass(frozen=True)
class Verdict:
    converged: bool
    words: str
    numbers: dict[str, float] = field(default_factory=dict)


def judge(state: RunState, store: CoefficientStore) -> Verdict:
    """Read the final state; every failed test is named."""
    shell = crossing_shell(state.fsc, 0.143)
    resolution = resolution_A(state.fsc, 0.143, store.box_A)
    share = float((state.confidence > 0.9).float().mean())
    doubts = []
    if not confirmed(state.starts):
        doubts.append(f"no two of {len(state.starts)} random starts agreed")
    if are_of_nothing(state.starts):
        doubts.append("the images seem to hold no particle: a map of them explains hardly more than noise would")
    if share < LEAST_CONFIDENT:
        doubts.append(f"only {share:.0%} of the images are sure of their orientation")
    if shell < LEAST_SHELL:
        doubts.append(f"the half maps agree only to {resolution:.1f} Å")
    numbers = {
        "resolution_A": resolution,
        "confident_share": share,
        "mean_pose_change_deg": state.history[-1]["mean_pose_change_deg"],
    }
    if doubts:
        words = "NOT converged: " + "; ".join(doubts) + words_on_misfits(state) + ". Do not trust this map."
        return Verdict(False, words, numbers)
    words = f"converged: half maps agree to {resolution:.1f} Å (FSC 0.143), {share:.0%} of the images are sure of their orientation"
    moved = last_moved_share(state)
    if moved is not None:
        numbers["moved_share"] = moved
        words += f" (the last search of all found {moved:.1%} of them elsewhere than polishing had left them)"
    if len(state.operators) > 1:
        words += f" but for a symmetry of order {len(state.operators)}, which was found and not imposed"
    if state.gain is not None:
        words += "; " + words_on_states(state)
        numbers["state_gain"] = state.gain
    return Verdict(True, words + words_on_misfits(state), numbers)


def last_moved_share(state: RunState) -> float | None:
    """Share of the images that the last search of all poses found elsewhere than where polishing had left them.

    Whether search and polish agree; images of no particle move in every search. None where only the first pass, before which
    there were no poses, has searched all.
    """
    passes = [*state.history[1:], *state.rounds]
    searched = (pass_["moved_share"] for pass_ in reversed(passes) if pass_.get("whole", "moved_share" in pass_))
    return next(searched, None)


def words_on_misfits(state: RunState) -> str:
    """Empty, or that images seem to be of something else: many hold surprisingly little of the map, or one kind of them holds less.

    Of parts of the structure it is known why.
    """
    surprise = state.surprise[~state.is_part]
    if count := len(misfits(surprise)):
        return (
            f"; {count:,} images hold surprisingly little of the map: what is not a particle, or another structure, which one "
            "class more (--classes) would tell apart"
        )
    if are_two_kinds(surprise):
        return (
            "; the images are of two kinds, of which one holds less of the map: two structures, which --classes 2 would tell "
            "apart, or unequal contrast"
        )
    return ""


def words_on_states(state: RunState) -> str:
    """Whether images that the model was not learned from are likelier in states of their own."""
    if not state.is_flexible:
        return "no states were found: one rigid structure explains the images as well"
    words = f"states explain unseen images better than one structure, by {state.gain:.1f} units of log likelihood an image"
    if not state.group.any():
        return words
    shares = torch.bincount(state.group) / len(state.group)
    told = ", ".join(f"{share:.0%}" for share in shares[:MOST_TOLD].tolist()) + (" …" if len(shares) > MOST_TOLD else "")
    return f"{words}, and fall into {len(shares)} separate groups of {told} of the images"
