"""Simulated sets drawn at random, structure, motion and optics, so that nothing can be tuned to them: `drawn0`, `drawn1` …

Half of the structures are built-in complexes, of which no two are alike: a third of them lack chains, a third turn one about an
axis, the others swing a part. Conditions are what users have: 3000 to 6000 images of 56 to 80 px, SNR 0.05 to 0.2.
"""

from typing import Any

import numpy as np

from cryodrake.data.procedural import procedural_chains

Structures = tuple[str, ...]
KNOWN = ("maps/ribosome80S_100px_4.0A.mrc", "models/1wcm_PolII.pdb.gz", "models/4v6x_human80S.cif.gz")
MISSING_MOST = 0.3  # of the mass: a state that lacks more is another complex


def drawn(number: int) -> tuple[Structures, str, dict[str, Any]]:
    """As the entries of datasets.py."""
    rng = np.random.default_rng([number, 2026])
    options: dict[str, Any] = {
        "n": int(rng.integers(30, 61)) * 100,
        "box": 2 * int(rng.integers(28, 41)),
        "snr": round(float(np.exp(rng.uniform(np.log(0.05), np.log(0.2)))), 3),
        "shift_px": round(float(rng.uniform(2, 7)), 1),
        "defocus_um": tuple(np.round(rng.uniform(0.6, 1.5) + np.array([0, rng.uniform(0.6, 1.8)]), 2).tolist()),
        "invert": bool(rng.random() < 0.5),
        "seed": 10_000 + number,
    }
    for chance, made in (
        (0.5, lambda: {"noise_colour": round(float(rng.uniform(0.5, 1.5)), 2)}),
        (0.5, lambda: {"astigmatism_um": round(float(rng.uniform(0.02, 0.15)), 3)}),
        (0.5, lambda: {"scale_jitter": round(float(rng.uniform(0.05, 0.25)), 2)}),
        (0.3, lambda: {"orientations": "preferred", "preferred_share": round(float(rng.uniform(0.4, 0.8)), 2)}),
        (0.4, lambda: {"empty_share": round(float(rng.uniform(0.02, 0.2)), 2)}),
        (0.3, lambda: {"optics_groups": int(rng.integers(2, 4)), "group_spread": 0.02}),
        (0.15, lambda: {"phase_shift_deg": 90.0}),
    ):
        if rng.random() < chance:
            options |= made()
    if rng.random() < 0.5:
        return (KNOWN[rng.integers(len(KNOWN))],), "C1", options | _hinge(rng)
    options["complex_seed"] = 100 + number
    chains = procedural_chains(options["complex_seed"])
    return (), "C1", options | (_hinge, _turn, _composition)[rng.integers(3)](rng, [len(chain) for chain in chains])


def _hinge(rng: np.random.Generator, sizes: list[int] | None = None) -> dict[str, Any]:
    """A part swings by 25 to 60 degrees in all."""
    arc, first = rng.uniform(25, 60), rng.uniform(-0.7, -0.3)
    ends = {"from_deg": round(float(arc * first), 1), "to_deg": round(float(arc * (1 + first)), 1)}
    return {"motion": "hinge", "states": int(rng.integers(10, 25)), "moving_share": round(float(rng.uniform(0.2, 0.4)), 2)} | ends


def _turn(rng: np.random.Generator, sizes: list[int]) -> dict[str, Any]:
    """One chain, not the largest, goes round."""
    return {"motion": "turn", "states": int(rng.integers(16, 31)), "moving": (_name(int(rng.integers(1, len(sizes)))),)}


def _composition(rng: np.random.Generator, sizes: list[int]) -> dict[str, Any]:
    """The whole, and two or three states that lack a chain each."""
    light = [i for i, size in enumerate(sizes) if size < MISSING_MOST * sum(sizes)]
    lacking = rng.choice(light, min(len(light), int(rng.integers(2, 4))), replace=False)
    subsets = ("full=*", *(f"no {_name(i)}=-{_name(i)}" for i in lacking))
    return {"motion": "composition", "subsets": subsets, "shares": tuple(np.round(rng.uniform(1, 4, len(subsets)), 1).tolist())}


def _name(chain: int) -> str:
    return chr(ord("A") + chain)
