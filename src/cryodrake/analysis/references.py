"""The papers behind the options of a job: one table, from option and value to paper."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Paper:
    """A publication; `doi` is empty where it has none and `where` then says how to find it."""

    authors: str
    year: int
    title: str
    where: str
    doi: str


ANY = object()  # whatever turns an option on


@dataclass(frozen=True)
class Reason:
    """What a paper is cited for: jobs of these commands whose options all have these values. None needed: every such job."""

    paper: Paper
    what: str
    needs: Mapping[str, object] = field(default_factory=dict)
    commands: tuple[str, ...] = ("abinit", "train", "backproject")


CRYODRGN2 = Paper(
    "Zhong, Lerer, Davis, Berger", 2021,
    "CryoDRGN2: ab initio neural reconstruction of 3D protein structures from real cryo-EM images",
    "ICCV, p. 4066 (openaccess.thecvf.com/ICCV2021)", "",
)  # fmt: skip
CRYODRGN = Paper(
    "Zhong, Bepler, Berger, Davis", 2021, "CryoDRGN: reconstruction of heterogeneous cryo-EM structures using neural networks",
    "Nat. Methods 18, 176", "10.1038/s41592-020-01049-4",
)  # fmt: skip
BAYES = Paper(
    "Scheres", 2012, "A Bayesian view on cryo-EM structure determination", "J. Mol. Biol. 415, 406", "10.1016/j.jmb.2011.11.010"
)
HALVES = Paper(
    "Scheres, Chen",
    2012,
    "Prevention of overfitting in cryo-EM structure determination",
    "Nat. Methods 9, 853",
    "10.1038/nmeth.2115",
)
THRESHOLD = Paper(
    "Rosenthal, Henderson", 2003,
    "Optimal determination of particle orientation, absolute hand, and contrast loss in single-particle electron cryomicroscopy",
    "J. Mol. Biol. 333, 721", "10.1016/j.jmb.2003.07.013",
)  # fmt: skip
CTF = Paper(
    "Mindell, Grigorieff", 2003, "Accurate determination of local defocus and specimen tilt in electron microscopy",
    "J. Struct. Biol. 142, 334", "10.1016/S1047-8477(03)00069-8",
)  # fmt: skip
HEALPIX = Paper(
    "Górski et al.", 2005,
    "HEALPix: a framework for high-resolution discretization and fast analysis of data distributed on the sphere",
    "Astrophys. J. 622, 759", "10.1086/427976",
)  # fmt: skip
ROTATIONS = Paper(
    "Yershova, Jain, LaValle, Mitchell", 2010, "Generating uniform incremental grids on SO(3) using the Hopf fibration",
    "Int. J. Robot. Res. 29, 801", "10.1177/0278364909352700",
)  # fmt: skip
PPCA = Paper(
    "Tipping, Bishop", 1999, "Probabilistic principal component analysis", "J. R. Stat. Soc. B 61, 611", "10.1111/1467-9868.00196"
)
RECOVAR = Paper(
    "Gilles, Singer", 2025, "Cryo-EM heterogeneity analysis using regularized covariance estimation and kernel regression",
    "PNAS 122, e2419140122", "10.1073/pnas.2419140122",
)  # fmt: skip
VIEWS = Paper(
    "Baldwin, Lyumkis",
    2020,
    "Non-uniformity of projection distributions attenuates resolution in cryo-EM",
    "Prog. Biophys. Mol. Biol. 150, 160",
    "10.1016/j.pbiomolbio.2019.09.002",
)
VAE = Paper("Kingma, Welling", 2014, "Auto-encoding variational Bayes", "ICLR; arXiv:1312.6114", "10.48550/arXiv.1312.6114")
UMAP = Paper(
    "McInnes, Healy, Saul, Großberger", 2018, "UMAP: uniform manifold approximation and projection", "J. Open Source Softw. 3, 861",
    "10.21105/joss.00861",
)  # fmt: skip

STATES = ("abinit", "train")

REASONS = (
    Reason(CRYODRGN2, "the idea: a neural map, and poses from nothing", commands=("abinit",)),
    Reason(CRYODRGN2, "the algorithm, as published", {"preset": "cryodrgn2"}, ("abinit",)),
    Reason(CRYODRGN, "a map as a network over frequencies", commands=STATES),
    Reason(BAYES, "the likelihood of poses, and maps filtered by their signal-to-noise ratio"),
    Reason(HALVES, "half sets"),
    Reason(THRESHOLD, "resolution at FSC 0.143"),
    Reason(VIEWS, "how evenly the structure was seen"),
    Reason(CTF, "the contrast transfer function"),
    Reason(HEALPIX, "the grid of viewing directions", commands=("abinit",)),
    Reason(ROTATIONS, "the grid of rotations", commands=("abinit",)),
    Reason(PPCA, "the linear model of states", {"preset": "default", "zdim": ANY}, STATES),
    Reason(VAE, "states read from images by a network", {"preset": "cryodrgn2", "zdim": ANY, "latents": "encoder"}, STATES),
    Reason(RECOVAR, "maps of states from the images near them", {"zdim": ANY}, STATES),
    Reason(UMAP, "the two-dimensional layout of the latents", {"umap": ANY}, STATES),
)


def papers_behind(command: str, options: Mapping[str, Any], has_layout: bool = False) -> list[tuple[str, Reason]]:
    """What a job rests on, in the order of `REASONS`: the options that call for it ("" where all jobs do), and the reason.

    Args:
        command: abinit, train or backproject.
        options: those of job.toml.
        has_layout: whether there is a UMAP of the job's latents.
    """
    given = {"preset": "default", "umap": has_layout} | dict(options)
    found = []
    for reason in REASONS:
        is_met = all(bool(given.get(name)) if value is ANY else given.get(name) == value for name, value in reason.needs.items())
        if command in reason.commands and is_met:
            shown = [f"{name} = {given[name]}" for name in reason.needs if name in options]
            found.append((", ".join(shown), reason))
    return found
