"""Every option of `simulate`: one frozen dataclass, saved in truth/simulation.json. Nothing heavy is imported here."""

import math
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Annotated, Literal, NoReturn

import tyro

from cryodrake.data.seeds import check_seed
from cryodrake.data.simulation_presets import PRESETS, Recipe
from cryodrake.errors import InputError

Motion = Literal["none", "hinge", "turn", "interpolate", "composition"]

# Options that only some motions read.
_READ_BY: dict[str, tuple[Motion, ...]] = {
    "states": ("hinge", "turn", "interpolate"),
    "from_deg": ("hinge",),
    "to_deg": ("hinge",),
    "moving": ("hinge", "turn"),
    "moving_share": ("hinge", "turn"),
    "subsets": ("composition",),
    "centre_each": ("none",),
}


@dataclass(frozen=True)
class SimulateConfig:
    """Particle images of a known structure, with the truth beside them."""

    out: Annotated[Path, tyro.conf.arg(aliases=("-o",))]
    """Folder to make: particles.star, particles.mrcs, truth/."""
    structures: tuple[Path, ...] = ()
    """One or several maps (.mrc) or atomic models (.pdb, .cif); each is a state. Default: the built-in complex."""
    complex_seed: int = 0
    """Seed of the built-in complex: another one is another structure."""
    motion: Motion = "none"
    """How states come from one structure: a part swings (hinge) or circles (turn), model to model, or chains missing."""
    states: int = 20
    """Number of states of a hinge, turn or interpolation, in equal steps; a turn's run from 0 to 360 degrees exclusive."""
    from_deg: float = -25.0
    """Angle of a hinge's first state, degrees; 0 is the structure as given."""
    to_deg: float = 25.0
    """Angle of a hinge's last state, degrees."""
    moving: tuple[str, ...] = ()
    """Chains that move, such as A,B or [A-F]; the built-in complex has A to N. Default: what lies beyond a plane (moving_share)."""
    moving_share: float = 0.35
    """Share of the mass that moves: the part beyond a plane across the structure's longest axis."""
    subsets: tuple[str, ...] = ()
    """States of a composition: 'NAME=A,B?' has these chains, 'NAME=-A,B?' all others; * ? [A-F] as in file names."""
    shares: tuple[float, ...] = ()
    """Relative numbers of images of the states, such as 3 2 1; 0 is allowed. Default: equal."""
    preset: Literal["default", "cryobench"] = "default"
    """cryobench: 256 px images with shifts of ±20 px and SNR 0.01, then Fourier cropped to 128 px."""
    n: int = 5000
    """Number of images."""
    box: int | None = None
    """Side of the images, pixels, even. Default: 64 (cryobench 128)."""
    form_box: int | None = None
    """Side at which images are formed and noised, before the Fourier crop to box. Default: box (cryobench 256)."""
    apix: float | None = None
    """Pixel size of the images, Å. Default: the map's own field of view, or what gives the molecule 0.65 of the box."""
    resolution_A: float | None = None
    """Atoms are Gaussians that reach 1/e at this resolution. Default: two pixels of form_box."""
    centre: bool = False
    """Move the first map's centre of mass to the centre of the box, and the others along (models always are)."""
    centre_each: bool = False
    """A mixture of different complexes: each structure's own centre of mass is moved to the centre of the box."""
    snr: float | None = None
    """Variance of the clean images over that of the noise, all pixels; inf: no noise. Default: 0.1 (cryobench 0.01)."""
    noise_colour: float = 0.0
    """0: white. Else the noise spectrum falls as 1/(1 + (s/5)²)^(colour/2) with the shell s, on a white tenth."""
    shift_px: float | None = None
    """x and y shifts are uniform in ± this, pixels of form_box. Default: those of poses_from, else 5 (cryobench 20)."""
    defocus_um: tuple[float, float] | None = None
    """Range of the mean defocus, µm underfocus. Default: 1 to 2.5 (cryobench 1.3 to 1.9)."""
    astigmatism_um: float = 0.0
    """Largest difference of the two defocus values, µm; its angle is uniform."""
    voltage_kV: float = 300.0
    """Accelerating voltage, kV."""
    cs_mm: float = 2.7
    """Spherical aberration, mm."""
    amplitude_contrast: float = 0.1
    """Fraction of amplitude contrast, w."""
    phase_shift_deg: float = 0.0
    """Phase shift of a phase plate, degrees."""
    bfactor_A2: float | None = None
    """The CTF's envelope is exp(-B s²/4), Å². Default: 0 (cryobench 100)."""
    orientations: Literal["uniform", "preferred"] = "uniform"
    """preferred: views are drawn from a few clusters (see preferred_*), in-plane angles uniformly."""
    preferred_views: int = 3
    """Number of clusters of preferred views; their directions are random, their shares 1, 1/2, 1/3 …"""
    preferred_spread_deg: float = 12.0
    """Spread of each cluster, degrees (von Mises-Fisher with concentration 1/spread²)."""
    preferred_share: float = 0.9
    """Share of the images in the clusters; the rest is uniform."""
    poses_from: Path | None = None
    """Take orientations, and shifts unless shift_px is given, of random particles of this .star or .cs."""
    ctf_from: Path | None = None
    """Take CTFs of random particles of this .star or .cs (the same ones as poses_from, where it is the same file)."""
    scale_jitter: float = 0.0
    """Relative standard deviation of each image's contrast (log-normal)."""
    empty_share: float = 0.0
    """Share of the images that hold no particle, noise alone, drawn at random; truth/empty.npy says which."""
    optics_groups: int = 1
    """Number of optics groups, drawn at random."""
    group_spread: float = 0.0
    """The groups' pixel sizes and noise amplitudes run from 1 - this to 1 + this times the nominal one."""
    invert: bool = False
    """Write particles black on white, as micrographs show them."""
    seed: int = 0
    """Seed of everything else that is random."""

    def __post_init__(self) -> None:
        for name in ("box", "form_box"):
            value = getattr(self, name)
            if value is not None and (value < 16 or value % 2):
                _refuse(name, value, "an even number of pixels, 16 or more")
        for name in ("apix", "resolution_A", "snr", "voltage_kV", "preferred_spread_deg"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                _refuse(name, value, "a positive number")
        for name in ("n", "optics_groups", "preferred_views"):
            if getattr(self, name) < 1:
                _refuse(name, getattr(self, name), "1 or more")
        for name in ("noise_colour", "shift_px", "astigmatism_um", "scale_jitter"):
            value = getattr(self, name)
            if value is not None and not (value >= 0 and math.isfinite(value)):
                _refuse(name, value, "zero or a positive number")
        check_seed(self.seed)
        check_seed(self.complex_seed, "--complex-seed")
        for name in ("amplitude_contrast", "preferred_share", "group_spread"):
            if not 0 <= getattr(self, name) <= 1:
                _refuse(name, getattr(self, name), "a fraction, 0 to 1")
        if not 0 <= self.empty_share < 1:
            _refuse("empty_share", self.empty_share, "a fraction, 0 to below 1")
        if self.group_spread > 0.5:
            _refuse("group_spread", self.group_spread, "0 to 0.5")
        if self.defocus_um is not None and not 0 <= self.defocus_um[0] <= self.defocus_um[1] <= 100:
            _refuse("defocus_um", self.defocus_um, "two numbers in µm, the smaller one first, such as 1 2.5")
        self._check_states()

    def _check_states(self) -> None:
        for field in fields(self):
            read_by = _READ_BY.get(field.name, (self.motion,))
            if self.motion not in read_by and getattr(self, field.name) != field.default:
                _refuse(field.name, getattr(self, field.name), f"--motion {' or '.join(read_by)}, not {self.motion}, with it")
        if self.motion == "interpolate" and len(self.structures) != 2:
            _refuse(
                "structures", f"{len(self.structures)} files", "two models, the first and the last state of --motion interpolate"
            )
        if self.motion not in ("none", "interpolate") and len(self.structures) > 1:
            _refuse("structures", f"{len(self.structures)} files", f"one structure, or none, for --motion {self.motion}")
        if self.motion == "composition" and not self.subsets:
            _refuse("subsets", "missing", "the states of --motion composition, such as 'full=*' 'vacant=-A'")
        if self.states < 2:
            _refuse("states", self.states, "2 or more")
        if not 0.01 <= self.moving_share <= 0.99:
            _refuse("moving_share", self.moving_share, "a fraction, 0.01 to 0.99")
        if self.moving and self.moving_share != SimulateConfig.moving_share:
            _refuse("moving_share", self.moving_share, "either --moving or --moving-share")
        if not (math.isfinite(self.from_deg) and math.isfinite(self.to_deg) and self.from_deg != self.to_deg):
            _refuse("to_deg", self.to_deg, "two different angles --from-deg and --to-deg")
        if self.shares and not (all(s >= 0 and math.isfinite(s) for s in self.shares) and sum(self.shares) > 0):
            _refuse("shares", self.shares, "numbers of zero or more, not all zero")

    def recipe(self) -> Recipe:
        """The preset with what the user gave in its place.

        Raises:
            InputError: form_box is smaller than box.
        """
        preset = PRESETS[self.preset]
        given = {f.name: getattr(self, f.name) for f in fields(Recipe) if getattr(self, f.name) is not None}
        recipe = replace(preset, **given)
        if self.form_box is None and preset.form_box == preset.box:
            recipe = replace(recipe, form_box=recipe.box)
        if recipe.form_box < recipe.box:
            _refuse("form_box", recipe.form_box, f"box ({recipe.box}) or more")
        return recipe


def _refuse(name: str, value: object, expected: str) -> NoReturn:
    raise InputError(f"{name} is {value}", where=f"--{name.replace('_', '-')}", expected=expected)
