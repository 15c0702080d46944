"""The microscope of a simulation: optics groups and each particle's CTF."""

import numpy as np
from jaxtyping import Float, Int

from cryodrake.data.simulation_config import SimulateConfig
from cryodrake.io.table import CTFColumns


def draw_groups(n: int, seed: int, n_groups: int, spread: float) -> tuple[Int[np.ndarray, " n"], Float[np.ndarray, " g"]]:
    """Each particle's optics group, and each group's factor on pixel size and noise amplitude."""
    factor = np.linspace(1 - spread, 1 + spread, n_groups) if n_groups > 1 else np.ones(1)
    return np.random.default_rng([seed, 4]).integers(0, n_groups, n), factor


def draw_ctf(config: SimulateConfig) -> CTFColumns:
    """Defocus uniform in its range, astigmatism uniform up to its limit at a uniform angle; the rest as configured."""
    rng = np.random.default_rng([config.seed, 5])
    recipe = config.recipe()
    low, high = recipe.defocus_um
    # One row of draws per particle: the first n particles are the same for any larger n.
    defocus, astigmatism, angle = rng.random((config.n, 3)).T
    mean_A = 1e4 * (low + (high - low) * defocus)
    half_A = 1e4 * config.astigmatism_um * astigmatism / 2
    constant = {
        "voltage_kV": config.voltage_kV,
        "cs_mm": config.cs_mm,
        "amplitude_contrast": config.amplitude_contrast,
        "phase_shift_deg": config.phase_shift_deg,
        "bfactor_A2": recipe.bfactor_A2,
    }
    return CTFColumns(
        defocus_u_A=mean_A + half_A,
        defocus_v_A=mean_A - half_A,
        defocus_angle_deg=180 * angle,
        **{name: np.full(config.n, value, dtype=np.float64) for name, value in constant.items()},
    )
