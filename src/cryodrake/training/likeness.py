"""Whether two maps, each of any pose and hand, are of one structure or of parts of it.

One is aligned to the other, in either hand. Maps of unrelated particles agree as well in the wrong hand as in the right one,
because what they share is a shape at low resolution; of one structure the right hand stands out. Where it has no hand, or none that
is seen yet, two maps of it agree nearly wholly (docs/log.md).
"""

from jaxtyping import Float
from torch import Tensor

from cryodrake.inference.alignment import Alignment, align, move

STANDS_OUT = 0.1  # in mean FSC: half of a structure and more 0.12 to 0.43, unrelated maps below 0.06 (docs/log.md)
ALIKE = 0.75  # mean FSC: two maps of one structure 0.95, unrelated ones below 0.6 (docs/log.md)


def of_one_structure(found: Alignment) -> bool:
    """Whether maps that are so aligned are of one structure, or one of a part of the other."""
    return found.score >= ALIKE or found.score - found.other_score >= STANDS_OUT


def placed(part: Float[Tensor, "d d d"], whole: Float[Tensor, "d d d"]) -> Float[Tensor, "d d d"] | None:
    """The map, of any pose and hand, where it belongs in that of the whole; None where they are of different structures."""
    found = align(whole.cpu(), part.cpu())
    return move(part.cpu(), found).to(part.device) if of_one_structure(found) else None
