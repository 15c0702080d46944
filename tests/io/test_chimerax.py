"""view.cxc: every line is a command that ChimeraX has, models are numbered as they are opened, levels are kept."""

import re

import pytest

from cryodrake.io.chimerax import ShownMap, write_maps, write_series

COMMANDS = {"open", "close", "set", "lighting", "graphics", "volume", "hide", "show", "view", "vseries", "movie", "turn", "wait"}


def commands(text):
    """The lines that run, and those that would if their # were removed."""
    lines = [line for line in text.splitlines() if line]
    runs = [line for line in lines if not line.startswith("#")]
    waiting = [line[2:] for line in lines if line.startswith("# ") and line[2:].split()[0] in COMMANDS]
    return runs, waiting


@pytest.fixture
def series():
    return [ShownMap(f"vol_{i:03d}.mrc", 0.0125) for i in range(4)]


def test_a_series_is_morphed_through_all_its_maps(series, tmp_path):
    path = write_series(tmp_path, series)
    assert path.name == "view.cxc"
    runs, waiting = commands(path.read_text())
    assert all(part.split()[0] in COMMANDS for line in runs + waiting for part in line.split("; "))
    assert [line for line in runs if line.startswith("open")] == [f"open vol_{i:03d}.mrc id {i + 1}" for i in range(4)]
    (morph,) = [line for line in runs if line.startswith("volume morph")]
    frames, step = (float(re.search(rf"{name} ([\d.]+)", morph)[1]) for name in ("frames", "playStep"))
    assert frames * step == pytest.approx(2, rel=1e-4)  # to the end and back
    assert "#1-4" in morph
    assert "modelId #5" in morph
    assert runs[-2].startswith("volume #5 level 0.0125")
    assert sum(line.startswith("hide #") for line in runs) == 4
    (recorded,) = [line for line in waiting if line.startswith("volume morph")]
    n = int(re.search(r"frames (\d+)", recorded)[1])
    assert f"wait {n}" in waiting
    assert waiting.index("movie record supersample 3") < waiting.index(recorded) < waiting.index(f"wait {n}")
    assert any(line.startswith("movie encode") for line in waiting)
    assert "vseries play #1 loop true" in "; ".join(waiting)


def test_single_maps_have_their_own_levels_and_hands_of_colour(tmp_path):
    maps = [ShownMap("a;map #1.mrc", 0.5), ShownMap("pc_1.mrc", 2.0, "goldenrod", is_visible=False, negative_colour="royal blue")]
    runs, _ = commands(write_maps(tmp_path, maps).read_text())
    assert 'open "a;map #1.mrc" id 1' in runs
    assert 'volume #1 style surface step 1 level 0.5 color "cornflower blue"' in runs
    assert 'volume #2 style surface step 1 level -2 color "royal blue" level 2 color goldenrod' in runs
    assert [line for line in runs if line.startswith("hide")] == ["hide #2 models"]
