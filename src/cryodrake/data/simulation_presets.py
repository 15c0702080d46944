"""What a preset decides, where the user does not."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Recipe:
    """Units and meanings as in `SimulateConfig`."""

    box: int
    form_box: int
    snr: float
    shift_px: float
    defocus_um: tuple[float, float]
    bfactor_A2: float


PRESETS = {
    "default": Recipe(box=64, form_box=64, snr=0.1, shift_px=5, defocus_um=(1.0, 2.5), bfactor_A2=0),
    # Jeon et al. (2024) CryoBench, NeurIPS Datasets and Benchmarks; their 1.5 Å at 256 px becomes 3 Å at 128 px.
    "cryobench": Recipe(box=128, form_box=256, snr=0.01, shift_px=20, defocus_um=(1.3, 1.9), bfactor_A2=100),
}
