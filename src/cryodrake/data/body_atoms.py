"""An atomic model as a body: its atoms move, and become Gaussians at the end."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor

from cryodrake.data.body import AbstractBody, Grid, Mass
from cryodrake.data.density import gaussian_density
from cryodrake.data.procedural import RESIDUE_ELECTRONS, procedural_chains
from cryodrake.errors import InputError
from cryodrake.io.atoms import read_atoms


@dataclass(frozen=True, eq=False)
class AtomBody(AbstractBody):
    """Atoms, one row each.

    Attributes:
        weights: electrons.
        chain: name of the chain.
        identity: equal for what is the same atom in two models.
    """

    positions_A: Float[np.ndarray, "a 3"]
    weights: Float[np.ndarray, " a"]
    chain: Shaped[np.ndarray, " a"]
    identity: Shaped[np.ndarray, " a"]

    @classmethod
    def read(cls, path: Path) -> "AtomBody":
        """A PDB or mmCIF file.

        Raises:
            InputError: it is missing or not a model.
        """
        atoms = read_atoms(path)
        # Scattering at the resolutions in question goes roughly with the electrons.
        weights = atoms.atomic_number * atoms.occupancy
        identity = np.array([" ".join(of) for of in zip(atoms.chain, atoms.residue, atoms.name, strict=True)])
        return cls(atoms.positions_A, weights.astype(float), atoms.chain, identity)

    @classmethod
    def built_in(cls, seed: int) -> "AtomBody":
        """The built-in complex; its domains are chains A, B, C … from the largest to the smallest."""
        chains = procedural_chains(seed)
        positions_A = np.concatenate(chains)
        names = np.repeat([chr(ord("A") + i) for i in range(len(chains))], [len(chain) for chain in chains])
        return cls(positions_A, np.full(len(names), RESIDUE_ELECTRONS), names, np.arange(len(names)))

    def __len__(self) -> int:
        return len(self.positions_A)

    def only(self, chosen: Bool[np.ndarray, " a"]) -> "AtomBody":
        """Some of the atoms, in their order."""
        return AtomBody(self.positions_A[chosen], self.weights[chosen], self.chain[chosen], self.identity[chosen])

    def of_chains(self, patterns: Sequence[str], option: str) -> Bool[np.ndarray, " a"]:
        """Which atoms belong to these chains, named as files are in a shell (* ? [A-F]).

        Raises:
            InputError: there is no such chain; the message is about `option`.
        """
        there = list(dict.fromkeys(self.chain.tolist()))
        missing = [pattern for pattern in patterns if not any(fnmatchcase(name, pattern) for name in there)]
        if missing:
            listed = f"some of {', '.join(there[:100])}{' …' if len(there) > 100 else ''}"
            raise InputError(f"there is no chain {', '.join(missing)}", where=option, expected=listed)
        return np.isin(self.chain, [name for name in there if any(fnmatchcase(name, pattern) for pattern in patterns)])

    def mass(self) -> Mass:
        return Mass(self.positions_A, self.weights)

    def centre_A(self) -> Float[np.ndarray, " 3"]:
        return self.mass().centre_A()

    def beyond(self, normal: Float[np.ndarray, " 3"], offset_A: float) -> Float[np.ndarray, " a"]:
        return (self.positions_A @ normal > offset_A).astype(float)

    def with_turned(
        self, part: Float[np.ndarray, " a"], rotation: Float[np.ndarray, "3 3"], about_A: Float[np.ndarray, " 3"]
    ) -> "AtomBody":
        turned_A = (self.positions_A - about_A) @ rotation.T + about_A
        return replace(self, positions_A=np.where(part[:, None] > 0.5, turned_A, self.positions_A))

    def density(self, grid: Grid, origin_A: Float[np.ndarray, " 3"]) -> Float[Tensor, "d d d"]:
        positions_A, weights = torch.from_numpy(self.positions_A - origin_A), torch.from_numpy(self.weights).float()
        return gaussian_density(positions_A, weights, grid.box, grid.pixel_size_A, grid.resolution_A)
