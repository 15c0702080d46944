"""Each particle's CTF at the disc's points, computed when first asked for and kept while there is room.

Values are rounded to float16 (5e-4 relative, far below any defocus error) whether they are kept or not, so that results do
not depend on the memory setting.
"""

from dataclasses import fields

import numpy as np
import torch
from jaxtyping import Float32, Int64
from torch import Tensor

from cryodrake.io.table import ParticleTable
from cryodrake.physics.blocks import at_once
from cryodrake.physics.ctf import CTFParams, ctf
from cryodrake.physics.disc import Disc

POINTS_PER_CHUNK = 1 << 19  # some ten float64 temporaries of this many


def ctf_params(table: ParticleTable, device: str | torch.device = "cpu") -> CTFParams | None:
    """The table's optics as tensors (float64); None where the file has no CTF."""
    if table.ctf is None:
        return None
    columns = {f.name: getattr(table.ctf, f.name) for f in fields(table.ctf)}
    columns["pixel_size_A"] = table.pixel_size_A
    return CTFParams(**{name: torch.from_numpy(np.array(c, dtype=np.float64)).to(device) for name, c in columns.items()})


class Transfer:
    """CTFs of all particles; 1 everywhere when the file has none; 0 beyond an image's own Nyquist frequency.

    Args:
        known: (n,) number of leading points that each particle's image has.
        room_bytes: for keeping values; none are kept when all of them do not fit.
    """

    def __init__(self, table: ParticleTable, box_A: float, disc: Disc, known: Int64[Tensor, " n"], room_bytes: float):
        device = disc.kxy.device
        n = len(table)
        self._disc = disc
        self._box_A = box_A
        self._known = None if bool((known == disc.n_points).all()) else known.to(device)
        self._params = ctf_params(table, device)
        self._cache: Tensor | None = None
        if self._params is not None and n * disc.n_points * 2 <= room_bytes:
            self._cache = torch.empty(n, disc.n_points, dtype=torch.float16, device=device)
        self._cached = torch.zeros(n, dtype=torch.int64)  # leading points of each row that the cache holds

    def __call__(self, rows: Int64[Tensor, " b"], k: int) -> Float32[Tensor, "b k"]:
        """The CTF of these particles at the first k points."""
        rows = rows.cpu()
        if self._params is None:
            return self._cut(rows, torch.ones(len(rows), k, device=self._disc.kxy.device))
        if self._cache is None:
            return self._cut(rows, self._compute(rows, k).float())
        missing = torch.unique(rows[self._cached[rows] < k])
        for some in missing.split(max(1, at_once(POINTS_PER_CHUNK, self._cache.device) // k)):
            self._cache[some.to(self._cache.device), :k] = self._compute(some, k)
            self._cached[some] = k
        return self._cut(rows, self._cache[:, :k].index_select(0, rows.to(self._cache.device)).float())

    def _compute(self, rows: Int64[Tensor, " b"], k: int) -> Tensor:
        assert self._params is not None
        kxy = self._disc.kxy[:k]
        parts = []
        for some in rows.split(max(1, at_once(POINTS_PER_CHUNK, kxy.device) // max(k, 1))):
            params = self._params[some.to(kxy.device)]
            parts.append(ctf(params, kxy, torch.full_like(params.pixel_size_A, self._box_A)).half())
        return torch.cat(parts) if parts else kxy.new_zeros(0, k).half()

    def _cut(self, rows: Int64[Tensor, " b"], values: Float32[Tensor, "b k"]) -> Float32[Tensor, "b k"]:
        if self._known is None:
            return values
        points = torch.arange(values.shape[1], device=values.device)
        return values * (points < self._known[rows.to(values.device), None])
