"""What a deposition in EMDB asks for, as far as a job knows it: a checklist with the values filled in, and the rest to fill in.

The questions are those of OneDep for a single-particle map (https://deposit.wwpdb.org; half maps are required since
2022): map with a contour level, both half maps unfiltered and unmasked, the mask, the FSC, an image of 500 × 500 pixels.
"""

from dataclasses import dataclass

from cryodrake import __version__
from cryodrake.analysis.report_input import extent, extent_words
from cryodrake.io.table import ParticleTable

IMAGE_px = 500
FILES = {
    "emd_map.mrc": "primary map",
    "emd_half_map_1.mrc": "half map 1, unfiltered and unmasked",
    "emd_half_map_2.mrc": "half map 2, the same",
    "emd_mask.mrc": "mask, under which the FSC was measured",
    "emd_fsc.xml": "FSC of the half maps, corrected for the mask",
    "emd_image.png": f"image of the entry, {IMAGE_px} × {IMAGE_px} pixels",
}
TO_FILL_IN = (
    "title, authors, ORCID, funding, citation, release date",
    "sample: name, source organism, sequences, molecular weight by sequence, oligomeric state",
    "specimen: buffer, concentration, grid, vitrification device, humidity, temperature",
    "microscope: model, source, mode, detector, exposure (e/Å²), frames, number of micrographs",
    "software before this step: motion correction, CTF estimation, picking",
    "raw data: EMPIAR accession, if deposited",
    "model: coordinates fitted into the map, if there are any",
)


@dataclass(frozen=True)
class DepositedMap:
    """Attributes:
    box, pixel_size_A, level: of the map; the level is the recommended contour.
    resolution_A: where the corrected FSC falls below 0.143.
    mass_kDa: enclosed in the mask's density, as protein.
    """

    box: int
    pixel_size_A: float
    level: float
    resolution_A: float
    mass_kDa: float


@dataclass(frozen=True)
class JobFacts:
    """Attributes:
    name: which of the job's maps it is.
    is_mirrored: whether the hand was changed.
    has_independent_halves: whether each half map's poses were found without the other half.
    verdict: of the run.
    angles: what the form asks on the assignment of angles, and the answers.
    """

    name: str
    is_mirrored: bool
    has_independent_halves: bool
    verdict: str | None
    angles: tuple[tuple[str, str], ...]


def angles_of(command: str) -> tuple[tuple[str, str], ...]:
    """By the command that made the job: ab initio, or from poses that came with the particles."""
    if command == "abinit":
        search = "maximum likelihood: exhaustive search, then local (cryodrake)"
        return ("starting model", "none: ab initio"), ("angle assignment, initial", search), ("angle assignment, final", search)
    given = "poses of the input particles (say which program found them)"
    return (
        ("starting model", "that of the input particles"),
        ("angle assignment, initial", given),
        ("angle assignment, final", given),
    )


def checklist(entry: DepositedMap, facts: JobFacts, particles: ParticleTable) -> str:
    """Plain text with a box to tick in front of each point."""
    made = [f"[x] {name:<20} {words}" for name, words in FILES.items()]
    known = [f"{name:<34} {value}" for name, value in _known(entry, facts, particles)]
    return "\n".join(
        [
            "FILES TO UPLOAD (https://deposit.wwpdb.org, experimental method: electron microscopy, single particle)", *made, "",
            "VALUES THAT THE FORM ASKS FOR, FROM THIS JOB", *known, "",
            "TO CHECK BEFORE", *[f"[ ] {point}" for point in _to_check(facts)], "",
            "TO FILL IN YOURSELF", *[f"[ ] {point}" for point in TO_FILL_IN], "",
        ]
    )  # fmt: skip


def _known(entry: DepositedMap, facts: JobFacts, particles: ParticleTable) -> list[tuple[str, str]]:
    values = [
        ("map", f"{facts.name}, {entry.box} × {entry.box} × {entry.box} voxels"),
        ("voxel size", f"{entry.pixel_size_A:.4f} Å in x, y and z"),
        ("recommended contour level", f"{entry.level:.4g}"),
        ("resolution", f"{entry.resolution_A:.2f} Å"),
        ("resolution method", "FSC 0.143 CUT-OFF, half maps, mask corrected by randomised phases"),
        ("number of particles", f"{len(particles):,}"),
        ("symmetry imposed", "C1"),
        ("enclosed mass, as protein", f"{entry.mass_kDa:,.0f} kDa"),
        ("reconstruction software", f"cryodrake {__version__}"),
        ("reconstruction algorithm", "back-projection in Fourier space"),
        *facts.angles,
    ]
    if particles.ctf is not None:
        ctf = particles.ctf
        defocus_um = (ctf.defocus_u_A + ctf.defocus_v_A) / 2e4
        values += [
            ("acceleration voltage", f"{extent_words(extent(ctf.voltage_kV))} kV"),
            ("spherical aberration", f"{extent_words(extent(ctf.cs_mm))} mm"),
            ("amplitude contrast", extent_words(extent(ctf.amplitude_contrast))),
            ("defocus of the particles", f"{extent_words(extent(defocus_um))} µm"),
            ("CTF correction", "amplitude and phase, during reconstruction"),
        ]
    return values


def _to_check(facts: JobFacts) -> list[str]:
    points = []
    if facts.verdict is not None:
        points.append(f"the run's own verdict: {facts.verdict}")
    hand = "was changed (--flip)" if facts.is_mirrored else "is as found; --flip changes it"
    points.append(
        f"the hand: ab initio it is arbitrary. It {hand}. Right-handed helices at better than 8 Å, or a known part, tell."
    )
    if not facts.has_independent_halves:
        points.append("the half sets: poses of both were found against one map, or elsewhere, so the FSC may be too good")
    points.append("the mask: nothing of the particle may be cut off (open view.cxc)")
    points.append("the voxel size: calibrated, and not only the nominal one")
    return points
