"""What the page draws, without a browser."""

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("dash")

from cryodrake.analysis.isosurface import Viewable
from cryodrake.errors import InputError
from cryodrake.io.job import JobFolder
from cryodrake.view import page
from cryodrake.view.curve_figures import fsc_figure
from cryodrake.view.panels import morph, progress
from cryodrake.view.scatter_figure import scatter
from cryodrake.view.shelf import Shelf
from cryodrake.view.surface_figure import Shown, surfaces

HOSTILE = '<a href="http://evil.example">map</a>'
HARMLESS = "&lt;a href"


def test_names_of_files_and_columns_are_text_and_no_tags():
    view = Viewable.of(np.zeros((8, 8, 8), np.float32), 1.0)
    assert HARMLESS in surfaces([Shown(HOSTILE, view, 1.0)], 300).layout.annotations[0].text
    table = pd.DataFrame({"frequency_inv_A": [0.1, 0.2], "fsc": [1.0, 0.5]})
    assert HARMLESS in fsc_figure({HOSTILE: table}, 300).data[0].name
    figure = scatter({HOSTILE: np.arange(5.0)}, HOSTILE, HOSTILE, HOSTILE, np.ones(5, dtype=bool), 300)
    colour = figure.data[0].marker.colorbar.title.text
    for text in (figure.layout.xaxis.title.text, figure.layout.yaxis.title.text, figure.data[0].hovertemplate, colour):
        assert "<a" not in text
        assert HARMLESS in text


@pytest.mark.parametrize(
    ("damaged", "still_there"),
    [("latents.npy", {"Run", "Maps"}), ("particles.star", {"Run", "Maps"}), ("maps/consensus.mrc", {"Run", "Quality"})],
)
def test_a_damaged_file_takes_only_its_own_tab_away(job, damaged, still_there):
    (job / damaged).write_bytes(b"\x93NUMPY broken")
    shelf = Shelf(job)
    whole = {tab.label: str(tab.children) for tab in page.tabs(shelf.open("hinge"), shelf).children}
    refused = {label for label, parts in whole.items() if "Cannot be shown" in parts}
    assert refused
    assert not refused & still_there
    assert all(damaged in whole[label] for label in refused)


def test_names_within_a_phase_keep_their_capitals(job):
    shelf = Shelf(job)
    reader = shelf.open("hinge")
    JobFolder(job).event("phase", name="refine 2", total=5, words="searching with the CTF of EMPIAR")
    JobFolder(job).write_status(state="running")
    assert "Searching with the CTF of EMPIAR" in str(progress.words(reader))


def test_paths_of_analyze_are_read_with_care(job):
    reader = Shelf(job).open("hinge")
    file = job / "analysis" / "graph" / "z-path.txt"
    file.parent.mkdir(parents=True)
    file.write_text("0 1\n2 3\n")
    assert morph.path(reader, "graph", []).tolist() == [[0, 1], [2, 3]]
    for text in ("0 1 2\n", "a b\n", "nan 1\n"):
        file.write_text(text)
        with pytest.raises(InputError, match=r"z-path\.txt"):
            morph.path(reader, "graph", [])


def test_a_surface_that_fills_its_box_is_not_cut_and_all_scenes_are_of_one_scale():
    axis = np.arange(32) - 16
    z, y, x = np.meshgrid(axis, axis, axis, indexing="ij")
    small, long = (np.exp(-(x**2 / 20 + y**2 / 20 + z**2 / length)).astype(np.float32) for length in (20, 400))
    level = {name: Viewable.of(volume, 3.0) for name, volume in (("small", small), ("long", long))}
    one = surfaces([Shown("small", level["small"], 1.0)], 300).layout
    assert one.scene.xaxis.range[1] == pytest.approx(0.78 * 16 * 3)
    both = surfaces([Shown(name, view, 1.0) for name, view in level.items()], 300)
    farthest_A = max(np.linalg.norm(np.stack([trace.x, trace.y, trace.z]), axis=0).max() for trace in both.data)
    assert farthest_A > 0.78 * 16 * 3
    for scene in (both.layout.scene, both.layout.scene2):
        assert scene.zaxis.range[1] == pytest.approx(farthest_A)
