"""The report's sections, in the order in which they are read."""

import platform
import re
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from cryodrake import __version__
from cryodrake.analysis.job_states import holds_classes
from cryodrake.analysis.references import papers_behind
from cryodrake.analysis.report_input import Extent, InputFacts, extent_words
from cryodrake.analysis.report_quality import Statement, statements, statements_on_classes
from cryodrake.app.report_sources import ReportSources
from cryodrake.io.html import heading, marked, page, paragraph, picture, table

LIBRARIES = ("torch", "numpy", "scipy", "pandas", "scikit-learn", "healpix", "mrcfile")
FILES = {
    "particles.star": "the input, row by row, with poses, half sets and confidences",
    "particles.cs": "the same for cryoSPARC",
    "maps/consensus.mrc": "the map, filtered by its signal-to-noise ratio",
    "maps/half1_unfil.mrc": "the first half map, unfiltered",
    "maps/half2_unfil.mrc": "the second half map, unfiltered",
    "maps/fsc.csv": "the half maps' agreement",
    "maps/field.mrc": "the neural map",
    "checkpoints/field.safetensors": "the neural map as a network",
    "latents.npy": "the state of every particle",
    "latents_precision.npy": "how surely each state is known",
    "groups.npy": "the separate group of states that each particle is in, from 0",
    "maps/states": "maps of representative states, or of classes: state_00 is that of class 1, and so on",
    "classes": "a job of its own for each class",
    "classes.npy": "the class of every particle, from 0",
    "analysis": "components, clusters and paths of the states",
}
OF_LARGEST = ("maps/consensus.mrc", "maps/half1_unfil.mrc", "maps/half2_unfil.mrc", "maps/fsc.csv")  # of a job with classes
CAPTIONS = {
    "figures/progress.png": "The map over the run",
    "figures/progress.gif": "The same as a film",
    "figures/fsc.png": "The half maps' agreement",
    "figures/views.png": "Where the particles were seen from",
    "maps/consensus.png": "The map",
    "maps/field.png": "The neural map",
    "analysis/explained_variance.png": "How much of the states' variance each component has",
    "analysis/latents_density.png": "Where the particles are in the plane of the first two components",
    "analysis/latents_clusters.png": "Clusters of states",
    "analysis/latents_umap_density.png": "UMAP of the states",
    "analysis/latents_umap_clusters.png": "Clusters in the UMAP",
    "analysis/latents_defocus.png": "States over defocus: there should be no trend",
    "analysis/latents_confidence.png": "States over the confidence of the pose",
    "analysis/latents_views.png": "States over the viewing direction: there should be no trend",
}
CLASS_STILL = re.compile(r"maps/states/state_(\d+)\.png")


def report_page(sources: ReportSources) -> str:
    """The HTML file."""
    name = sources.job.absolute().name
    return page(f"cryodrake report: {name}", _sections(sources, name))


def _sections(sources: ReportSources, name: str) -> Iterator[str]:
    said = _said(sources)
    yield heading(f"{name}: {sources.command} by cryodrake {sources.status.get('version', '')}", level=1)
    yield marked(said[0].words, said[0].level)
    yield heading("What went in")
    yield from _input(sources)
    yield heading("What came out")
    yield from _output(sources)
    yield heading("How good it is")
    yield from (marked(statement.words, statement.level) for statement in said)
    for part in sources.classes:
        yield from _of_class(part, _n(sources))
    yield heading("Figures")
    yield from _figures(sources)
    yield heading("The run")
    yield table(("phase", "seconds"), [(words, f"{seconds:.0f}") for words, seconds in sources.phases])
    yield heading("Settings")
    yield paragraph(
        "In job.toml, from which the job runs again: cryodrake " + f"{sources.command} --config job.toml -o ANOTHER_FOLDER"
    )
    rows = [(option, value, "changed" if option in sources.changed else "default") for option, value in sources.options.items()]
    yield table(("option", "value", ""), rows)
    yield heading("Versions")
    yield table(("program", "version"), _versions(sources))
    yield heading("The papers behind it")
    yield from _papers(sources)


def _said(sources: ReportSources) -> list[Statement]:
    if holds_classes(sources.job):
        return statements_on_classes(sources.status, len(sources.classes))
    return statements(
        sources.command, sources.options, sources.status, _n(sources), sources.curve, sources.views, sources.diagnosis
    )


def _n(sources: ReportSources) -> int:
    return sources.particles.n if sources.particles else 0


def _of_class(part: ReportSources, n_of_all: int) -> Iterator[str]:
    """Share of the images, verdict and figures of one class."""
    name = f"Class {int(part.job.name.removeprefix('class_'))}"
    share = f": {_n(part):,} images, {_n(part) / n_of_all:.0%} of all" if _n(part) and n_of_all else ""
    yield heading(name + share)
    yield paragraph(f"The job of this class, with all of its files: classes/{part.job.name}")
    yield from (marked(statement.words, statement.level) for statement in _said(part))
    yield from _figures(part, name)


def _input(sources: ReportSources) -> Iterator[str]:
    yield paragraph(str(sources.options.get("particles", "")))
    facts = sources.particles
    if facts is None:
        yield paragraph("There is no particles.star yet.")
        return
    yield table(("", ""), _particle_rows(facts))
    header = ("images", "box, px", "pixel size, Å", "kV", "Cs, mm", "amplitude contrast")
    groups = [
        (f"{g.n:,}", *map(_number, (g.box, g.pixel_size_A, g.voltage_kV, g.cs_mm, g.amplitude_contrast))) for g in facts.groups
    ]
    yield table(header, groups)
    yield from (marked(note, "note") for note in facts.notes)


def _particle_rows(facts: InputFacts) -> Iterator[tuple[str, str]]:
    yield "particles", f"{facts.n:,}"
    if facts.defocus_A is None:
        yield "defocus", "no CTF is known: taken as 1"
    else:
        low, middle, high = (value / 1e4 for value in facts.defocus_A)
        yield "defocus", f"{middle:.2f} µm (5 % below {low:.2f}, 5 % above {high:.2f})"
    if facts.half_sets is not None:
        yield "half sets", " and ".join(f"{count:,}" for count in facts.half_sets)


def _output(sources: ReportSources) -> Iterator[str]:
    of = {name: " (of class 1, the largest)" for name in OF_LARGEST} if holds_classes(sources.job) else {}
    there = [
        (name, words + of.get(name, ""), _size(sources.job / name))
        for name, words in FILES.items()
        if (sources.job / name).exists()
    ]
    yield table(("in the job folder", "", "size"), there)


def _figures(sources: ReportSources, of_class: str | None = None) -> Iterator[str]:
    """All pictures; the caption of a class's begins with its name."""
    names = [str(path.relative_to(sources.job)) for path in sources.pictures]
    for name in [*(name for name in CAPTIONS if name in names), *(name for name in names if name not in CAPTIONS)]:
        caption = CAPTIONS.get(name, name)
        still = CLASS_STILL.fullmatch(name) if holds_classes(sources.job) else None
        if still:
            caption = f"The map of class {int(still[1]) + 1}"
        if of_class is not None:
            caption = f"{of_class}: {caption[:1].lower()}{caption[1:]}"
        figure = picture(sources.job / name, caption)
        if figure is not None:
            yield figure


def _versions(sources: ReportSources) -> Iterator[tuple[str, str]]:
    yield "cryodrake, that ran the job", str(sources.status.get("version", "not on record"))
    yield "cryodrake, that made this report", __version__
    yield "Python, at the report", f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    for library in LIBRARIES:
        try:
            yield f"{library}, at the report", version(library)
        except PackageNotFoundError:
            continue


def _papers(sources: ReportSources) -> Iterator[str]:
    has_layout = (sources.job / "analysis" / "umap.npy").exists()
    rows = []
    for because, reason in papers_behind(sources.command, sources.options, has_layout):
        paper = reason.paper
        cited = f"{paper.authors} ({paper.year}) {paper.title}. {paper.where}"
        rows.append((reason.what, because, cited, f"https://doi.org/{paper.doi}" if paper.doi else None))
    yield table(("for", "option", "paper", "DOI"), rows)


def _number(found: Extent | None) -> str:
    return "not known" if found is None else extent_words(found)


def _size(path: Path) -> str:
    total = sum(file.stat().st_size for file in ([path] if path.is_file() else path.rglob("*")) if file.is_file())
    return f"{total / 2**20:.1f} MiB" if total >= 2**20 else f"{total / 2**10:.0f} KiB"
