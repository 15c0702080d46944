"""Makes the simulated sets on which cryodrake is measured, by name, into a cache folder; a set that is there is kept.

    python benchmarks/datasets.py R1 R2 spike          python benchmarks/datasets.py all --out ../data

Every set: 64 px, 5000 images where nothing else is said, shifts ±5 px, defocus 1 to 2.5 µm, white noise. True maps:
truth/volumes/state_000.mrc …; of the heterogeneous sets truth/states.csv says what each state is, and truth/moving.mrc
is the mask of where they differ. Their homogeneous control H4 is R1.
"""

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import tyro
from drawn_sets import drawn

from cryodrake.data.simulation import simulate
from cryodrake.data.simulation_config import SimulateConfig

_RIBOSOME, _SPIKE, _BETAGAL = (
    "maps/ribosome80S_100px_4.0A.mrc",
    "models/6vxx_spike_closed.pdb.gz",
    "maps/betagal_D2_100px_3.54A.mrc",
)
_OPEN_SPIKE, _80S, _POLYMERASE = "models/6vyb_spike_open.cif.gz", "models/4v6x_human80S.cif.gz", "models/1wcm_PolII.pdb.gz"

# States of 4V6X and their shares. Chains: A eEF2, KA the tRNA of the E site, B-Z and AA-JA the small subunit, JC VA AC the
# 5S RNA with L5 and L11.
_ASSEMBLY = {
    "full=*": 5,
    "no eEF2=-A": 4,
    "vacant=-A,KA": 3,
    "large subunit=-A,KA,[B-Z],[A-J]A": 3,
    "large subunit without 5S=-A,KA,[B-Z],[A-J]A,JC,VA,AC": 2,
    "small subunit=[B-Z],[A-J]A": 1,
}
_COMPOSITION = {"motion": "composition", "subsets": tuple(_ASSEMBLY), "shares": tuple(map(float, _ASSEMBLY.values()))}

# name: (structures in shared/data, none for the built-in complex; symmetry for `evaluate`; options)
Sets = dict[str, tuple[tuple[str, ...], str, dict[str, Any]]]
SETS: Sets = {
    "R1": ((_RIBOSOME,), "C1", {"snr": 0.1}),
    "R2": ((_RIBOSOME,), "C1", {"snr": 0.03, "seed": 1}),
    "spike": ((_SPIKE,), "C3", {"snr": 0.1, "seed": 2}),
    "betagal": ((_BETAGAL,), "D2", {"snr": 0.1, "seed": 3}),
    "preferred": ((_RIBOSOME,), "C1", {"snr": 0.1, "orientations": "preferred", "preferred_share": 0.9, "seed": 4}),
    "procedural": ((), "C1", {"snr": 0.1, "seed": 5}),
}
HETEROGENEOUS: Sets = {
    "H1": ((_RIBOSOME,), "C1", {"motion": "hinge", "states": 20, "snr": 0.1, "seed": 6}),
    "H1f": ((_RIBOSOME,), "C1", {"motion": "hinge", "states": 20, "snr": 0.03, "seed": 7}),
    "H1spike": ((_SPIKE, _OPEN_SPIKE), "C1", {"motion": "interpolate", "states": 10, "snr": 0.1, "seed": 8}),
    "H1empty": ((_RIBOSOME,), "C1", {"motion": "hinge", "states": 20, "snr": 0.1, "empty_share": 0.15, "seed": 13}),
    "H2": ((_80S,), "C1", _COMPOSITION | {"apix": 6.25, "snr": 0.1, "seed": 9}),
    "H2f": ((_80S,), "C1", _COMPOSITION | {"apix": 6.25, "snr": 0.03, "seed": 14}),
    "H3": ((), "C1", {"motion": "turn", "states": 30, "moving": ("C", "D"), "snr": 0.1, "seed": 10}),
    "H3f": ((), "C1", {"motion": "turn", "states": 30, "moving": ("C", "D"), "snr": 0.03, "seed": 15}),
    # One level of noise: the ribosome's own SNR is 0.5, the spike's and the polymerase's 0.05 and 0.06.
    "H5": ((_80S, _SPIKE, _POLYMERASE), "C1", {"centre_each": True, "apix": 6.25, "n": 6000, "snr": 0.2, "seed": 11}),
}
_LARGE = {"n": 20_000, "box": 128, "shift_px": 10.0, "snr": 0.04}  # 1.3 GB
LARGE: Sets = {
    "R20k": ((_RIBOSOME,), "C1", _LARGE | {"seed": 9}),
    "H20k": ((_RIBOSOME,), "C1", _LARGE | {"motion": "hinge", "states": 20, "seed": 12}),
}
_PROTEASOME, _FERRITIN = "models/3j9i_T20S_proteasome_D7.pdb.gz", "models/6z6u_apoferritin_O.pdb.gz"
_SMALL_SUBUNIT = ("[B-Z]", "[A-J]A")
# Proteins of the large subunit in four groups, of which states lack some.
_LARGE_SUBUNIT = (
    "large=-A,KA,[B-Z],[A-J]A",
    "no 1=-A,KA,[B-Z],[A-J]A,[L-Z]A",
    "no 2=-A,KA,[B-Z],[A-J]A,[A-M]B",
    "no 3=-A,KA,[B-Z],[A-J]A,[N-Z]B",
    "no 4=-A,KA,[B-Z],[A-J]A,[A-H]C",
    "no 1 2=-A,KA,[B-Z],[A-J]A,[L-Z]A,[A-M]B",
    "no 3 4=-A,KA,[B-Z],[A-J]A,[N-Z]B,[A-H]C",
    "RNA=IC,JC,KC",
)
_MIXTURE = {"centre_each": True, "apix": 5.0, "snr": 0.1}
# That nothing was tuned on. The proteasome's symmetry is not about z, so `evaluate` cannot be told of it.
OTHERS: Sets = {
    "polhinge": (
        (_POLYMERASE,),
        "C1",
        {
            "motion": "hinge",
            "states": 15,
            "n": 4000,
            "box": 72,
            "snr": 0.1,
            "noise_colour": 1.0,
            "defocus_um": (0.8, 2.2),
            "seed": 101,
        },
    ),
    "ratchet": (
        (_80S,),
        "C1",
        {"motion": "hinge", "moving": _SMALL_SUBUNIT, "from_deg": -10.0, "to_deg": 10.0, "apix": 6.25, "snr": 0.08, "seed": 102},
    ),
    "subunits": (
        (),
        "C1",
        {
            "complex_seed": 7,
            "motion": "composition",
            "subsets": ("full=*", "noA=-A", "noBC=-B,C", "noD=-D"),
            "shares": (4.0, 3.0, 2.0, 2.0),
            "snr": 0.07,
            "orientations": "preferred",
            "preferred_share": 0.7,
            "seed": 103,
        },
    ),
    "twostate": ((_SPIKE, _OPEN_SPIKE), "C1", {"shares": (2.0, 1.0), "snr": 0.1, "seed": 104}),
    "mix2": ((_PROTEASOME, _POLYMERASE), "C1", _MIXTURE | {"seed": 105}),
    "mix31": ((_FERRITIN, _POLYMERASE), "C1", _MIXTURE | {"shares": (3.0, 1.0), "n": 6000, "seed": 121}),
    "mix3": ((_SPIKE, _PROTEASOME, _POLYMERASE), "C1", _MIXTURE | {"shares": (5.0, 3.0, 2.0), "n": 6000, "seed": 122}),
    "faint": (
        (),
        "C1",
        {
            "complex_seed": 11,
            "motion": "hinge",
            "from_deg": -15.0,
            "to_deg": 15.0,
            "n": 8000,
            "box": 80,
            "snr": 0.05,
            "phase_shift_deg": 90.0,
            "seed": 106,
        },
    ),
    "trpv1": (("maps/trpv1_48px.mrc",), "C4", {"snr": 0.1, "seed": 107}),
    "proteasome": ((_PROTEASOME,), "C1", {"n": 4000, "snr": 0.1, "seed": 108}),
    "groel": (("maps/groel_D7_100px_2.70A.mrc",), "D7", {"n": 4000, "snr": 0.05, "seed": 109}),
    "arms": (
        (),
        "C1",
        {"complex_seed": 3, "motion": "turn", "moving": ("B", "C"), "states": 24, "snr": 0.1, "noise_colour": 1.0, "seed": 110},
    ),
    "assembly": (
        (_80S,),
        "C1",
        {"motion": "composition", "subsets": _LARGE_SUBUNIT, "shares": (3.0, 2.0, 2.0, 2.0, 1.0, 1.0, 1.0, 1.0), "apix": 5.6}
        | {"snr": 0.1, "n": 6000, "seed": 131},
    ),
    "mix5": (
        (_80S, _SPIKE, _PROTEASOME, _POLYMERASE, _FERRITIN),
        "C1",
        {"centre_each": True, "apix": 6.25, "snr": 0.2, "n": 8000, "shares": (3.0, 2.0, 2.0, 1.5, 1.5), "seed": 132},
    ),
    "rough": (
        (_POLYMERASE,),
        "C1",
        {"motion": "hinge", "states": 12, "from_deg": -20.0, "to_deg": 30.0, "moving_share": 0.25, "n": 6000, "snr": 0.08}
        | {"noise_colour": 1.0, "astigmatism_um": 0.1, "scale_jitter": 0.2, "optics_groups": 2, "group_spread": 0.02}
        | {"orientations": "preferred", "preferred_share": 0.6, "empty_share": 0.1, "invert": True, "seed": 133},
    ),
    "polempty": ((_POLYMERASE,), "C1", {"motion": "hinge", "empty_share": 0.2, "snr": 0.1, "seed": 123}),
}
ALL = SETS | HETEROGENEOUS | LARGE | OTHERS
DIM = 0.5  # of the SNR of a set drawn at random: dim3 is drawn3 in twice the noise


def entry(name: str) -> tuple[tuple[str, ...], str, dict[str, Any]]:
    """What there is to know of a set.

    Raises:
        KeyError: no set of this name.
    """
    for prefix, share in (("drawn", 1.0), ("dim", DIM)):
        number = name.removeprefix(prefix)
        if number != name and number.isdecimal():
            structures, symmetry, options = drawn(int(number))
            return structures, symmetry, options | {"snr": options["snr"] * share}
    return ALL[name]


def make(name: str, out: Path, shared: Path, **changes: Any) -> Path:
    """The folder of a set, simulated if it is not there yet; `changes` are options that differ.

    Raises:
        KeyError: no set of this name.
        InputError: the map or model is not in `shared`.
    """
    name = "R1" if name == "H4" else name
    folder = out / name
    if (folder / "particles.star").exists():
        return folder
    structures, _, options = entry(name)
    config = SimulateConfig(out=folder, structures=tuple(shared / "data" / path for path in structures), **options)
    return simulate(replace(config, **changes))


def main(
    names: tyro.conf.Positional[tuple[str, ...]],
    out: Annotated[Path, tyro.conf.arg(aliases=("-o",))] = Path("benchmarks/out/data"),
    shared: Path = Path("../shared"),
) -> None:
    """Make sets.

    Args:
        names: any of R1 R2 spike betagal preferred procedural H1 H1f H1spike H1empty H2 H2f H3 H3f H4 H5 R20k H20k, of OTHERS, or
            drawn0 drawn1 … (drawn_sets.py); all: the former without the two large ones.
        out: cache folder.
        shared: folder that holds data/maps and data/models.
    """
    for name in SETS | HETEROGENEOUS if names == ("all",) else names:
        folder = make(name, out, shared)
        print(f"{name}: {folder}/particles.star  truth {folder}/truth/volumes  symmetry {entry(folder.name)[1]}")


if __name__ == "__main__":
    tyro.cli(main)
