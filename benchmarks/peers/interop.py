"""Does RELION, given our particle file, rebuild our map? `relion_reconstruct --ctf` against JOB/maps/consensus.mrc.

RELION is the independent program: angles, shifts, the CTF's sign, the hand, a centre one pixel off, all would show. The
Fourier shell correlation is computed here with numpy, on purpose not by the package under test. It is given for the maps
as they are, and inside one soft sphere on both, for our map is masked to the particle and RELION's keeps the noise
around it. The shell at Nyquist is left out: no image fills it, and RELION's own map is not faithful there even from
noise-free images (FSC 0.92 with the truth, 0.997 one shell further in).
"""

from pathlib import Path

import mrcfile
import numpy as np
from process import run_stamped

AGREEMENT = 0.9


def read_map(path: Path) -> tuple[np.ndarray, float]:
    """Volume (d d d) float64, axes z y x, and its pixel size in Å."""
    with mrcfile.open(path, permissive=True) as file:
        return np.asarray(file.data, dtype=np.float64), float(file.voxel_size.x)


def radius_grid(axis: np.ndarray) -> np.ndarray:
    """Distance from the origin (d d d) on the grid axis × axis × axis."""
    return np.sqrt(axis[:, None, None] ** 2 + axis[None, :, None] ** 2 + axis[None, None, :] ** 2)


def shell_correlation(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """FSC (d//2 + 1,) of two volumes (d d d) over shells round(|k|), k in cycles per box."""
    box = first.shape[0]
    one, two = np.fft.fftn(first), np.fft.fftn(second)
    shell = np.rint(radius_grid(np.fft.fftfreq(box, 1 / box))).astype(int)
    inside = shell <= box // 2

    def total(values: np.ndarray) -> np.ndarray:
        return np.bincount(shell[inside], values[inside], box // 2 + 1)

    power = total(np.abs(one) ** 2) * total(np.abs(two) ** 2)
    return total((one * two.conj()).real) / np.sqrt(np.maximum(power, 1e-300))


def last_shell_above(curve: np.ndarray, threshold: float) -> int:
    """The last shell before the curve first falls below the threshold."""
    below = np.flatnonzero(curve[1:] < threshold)
    return int(below[0]) if len(below) else len(curve) - 1


def soft_sphere(box: int, radius_px: float, edge_px: float = 4.0) -> np.ndarray:
    """Mask (d d d): 1 inside the radius, a cosine edge outside it."""
    distance = radius_grid(np.arange(box) - box // 2)
    return 0.5 + 0.5 * np.cos(np.pi * np.clip((distance - radius_px) / edge_px, 0, 1))


def report(job: Path, data: Path, prefix: str, particle_diameter_A: float, work: Path) -> dict:
    """Reconstruct the job's particles with RELION; FSC with the job's map up to the job's own half-map resolution.

    RELION finds the stacks relative to the folder it runs in: `data`, where the names in the particle file hold.
    """
    rebuilt, log = work / "relion_reconstruct.mrc", work / "relion_reconstruct.log"
    command = [f"{prefix}relion_reconstruct", "--i", str(job / "particles.star"), "--ctf", "--o", str(rebuilt)]
    run_stamped(command, data, 1, log).checked(log)
    (ours, pixel_size_A), (theirs, _) = read_map(job / "maps" / "consensus.mrc"), read_map(rebuilt)
    halves = [read_map(job / "maps" / f"half{half}_unfil.mrc")[0] for half in (1, 2)]
    shell = max(min(last_shell_above(shell_correlation(*halves), 0.143), len(ours) // 2 - 1), 1)
    sphere = soft_sphere(len(ours), particle_diameter_A / 2 / pixel_size_A)
    plain = shell_correlation(ours, theirs)[1 : shell + 1]
    masked = shell_correlation(ours * sphere, theirs * sphere)[1 : shell + 1]
    return {
        "command": " ".join(command),
        "resolution_0143_A": len(ours) * pixel_size_A / shell,
        "fsc_min": float(plain.min()),
        "fsc_mean": float(plain.mean()),
        "fsc_min_in_particle": float(masked.min()),
        "agrees": bool(plain.min() >= AGREEMENT),
        "fsc_from_shell_1": plain.tolist(),
    }
