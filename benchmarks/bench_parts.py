"""Is a class a part of another's structure: two maps aligned in the right hand and in the wrong one, and what tells them apart.

    python benchmarks/bench_parts.py          python benchmarks/bench_parts.py --complexes 8 --noise 1

Built-in complexes of several seeds: each with parts of itself that hold so much of its mass, turned at random, and with the
complexes of other seeds. Maps are those of classes, to radius 10, with noise of so many times their power. Scores are mean FSCs,
by which `training.likeness` calls maps related.
"""

import argparse
from itertools import combinations
from pathlib import Path

import machine
import torch
from tables import table, write_json

from cryodrake.data.density import gaussian_density
from cryodrake.data.procedural import procedural_chains
from cryodrake.inference.alignment import align
from cryodrake.inference.reference import box_for_radius, in_box
from cryodrake.physics.rotations import random_rotations
from cryodrake.training.likeness import of_one_structure
from cryodrake.training.mixture import SHARED

OUT = Path(__file__).parent / "out"
BOX, PIXEL_A = 64, 5.3
SHARES = (0.7, 0.5, 0.3)  # of the mass
HEADER = (
    "pairs",
    "n",
    "right hand: least",
    "median",
    "most",
    "wrong hand",
    "difference: least",
    "median",
    "most",
    "called related",
)


def density(chains: list[torch.Tensor]) -> torch.Tensor:
    points = torch.cat(chains)
    return in_box(
        gaussian_density(points, torch.ones(len(points)), BOX, PIXEL_A, 2 * PIXEL_A), box_for_radius(SHARED.last_radius, BOX)
    )


def seen(chains: list[torch.Tensor], noise: float, generator: torch.Generator) -> torch.Tensor:
    """The map of a class of these chains, in a frame of its own."""
    turn = random_rotations(1, generator)[0]
    volume = density([chain @ turn.T for chain in chains])
    return volume + noise**0.5 * volume.std() * torch.randn(volume.shape, generator=generator)


def parts_of(chains: list[torch.Tensor], share: float) -> list[torch.Tensor]:
    """The chains nearest to the first, until they hold so much."""
    order = sorted(chains, key=lambda chain: float((chain.mean(0) - chains[0].mean(0)).norm()))
    kept: list[torch.Tensor] = []
    while sum(map(len, kept)) < share * sum(map(len, chains)):
        kept.append(order[len(kept)])
    return kept


def row(name: str, alignments: list) -> list:
    right, wrong = (torch.tensor([getattr(a, score) for a in alignments]) for score in ("score", "other_score"))
    apart = right - wrong
    found = [right.min(), right.median(), right.max(), wrong.median(), apart.min(), apart.median(), apart.max()]
    return [name, len(alignments), *map(float, found), f"{sum(map(of_one_structure, alignments))} of {len(apart)}"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--complexes", type=int, default=6)
    parser.add_argument("--noise", type=float, default=0.3, help="power of the class map's noise over that of its signal")
    parser.add_argument("--out", type=Path, default=OUT / "parts.json")
    options = parser.parse_args()
    print(machine.words(machine.describe()))
    generator = torch.Generator().manual_seed(0)
    complexes = [[torch.from_numpy(c).float() for c in procedural_chains(seed)] for seed in range(options.complexes)]
    whole = [density(chains) for chains in complexes]
    rows = []
    for share in SHARES:
        found = [
            align(w, seen(parts_of(chains, share), options.noise, generator)) for w, chains in zip(whole, complexes, strict=True)
        ]
        rows.append(row(f"part of {share:.0%}", found))
    others = [align(whole[i], seen(complexes[j], options.noise, generator)) for i, j in combinations(range(len(whole)), 2)]
    rows.append(row("another complex", others))
    others = [
        align(whole[i], seen(parts_of(complexes[j], 0.5), options.noise, generator)) for i, j in combinations(range(len(whole)), 2)
    ]
    rows.append(row("part of 50% of another", others))
    print("\n" + table(HEADER, rows))
    write_json(options.out, [dict(zip(HEADER, line, strict=True)) for line in rows])


if __name__ == "__main__":
    main()
