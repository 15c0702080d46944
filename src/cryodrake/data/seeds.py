"""Seeds: what every generator that a run uses takes."""

from cryodrake.errors import InputError

MOST = 2**32 - 1  # what numpy's older generators, and with them scikit-learn, take


def check_seed(seed: int, option: str = "--seed") -> None:
    """Raises InputError for what is no seed."""
    if not 0 <= seed <= MOST:
        raise InputError(f"seed is {seed}", where=option, expected=f"a whole number, 0 to {MOST}")
