"""What stands beside maps: levels that people would choose, and pictures of every map but half maps."""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from cryodrake.analysis.map_folder import (
    LARGEST_BOX,
    is_half_map,
    series_look,
    small_map,
    write_component_views,
    write_map_views,
    write_series_views,
)  # fmt: skip
from cryodrake.analysis.movie import Film, MovieStyle, place_in_series, write_movie
from cryodrake.io.mrc import write_map

BOX = 24


def ball(radius_px, height=1.0, box=BOX):
    axis = torch.arange(box, dtype=torch.float32) - box // 2
    z, y, x = torch.meshgrid(axis, axis, axis, indexing="ij")
    return height * torch.sigmoid((radius_px - torch.sqrt(x**2 + y**2 + z**2)) / 0.6)


def write(folder, name, volume):
    write_map(folder / name, volume.numpy(), 3.0)
    return folder / name


def dark_share(path):
    with Image.open(path) as picture:
        return (np.asarray(picture.convert("L")) < 250).mean()


def test_a_series_has_one_level_so_that_what_goes_is_seen_to_go(tmp_path):
    """The second map is the first with half of the density: at the common level less of it is left."""
    paths = [write(tmp_path, "vol_0.mrc", ball(7.0)), write(tmp_path, "vol_1.mrc", ball(7.0, 0.55))]
    assert [path.name for path in write_series_views(tmp_path, paths)] == ["view.cxc", "vol_0.png", "vol_1.png"]
    level, _ = series_look(map(small_map, paths))
    assert 0.2 < level < 0.55
    assert dark_share(tmp_path / "vol_1.png") < 0.95 * dark_share(tmp_path / "vol_0.png")
    assert (tmp_path / "view.cxc").read_text().count(f"level {level:.5g}") >= 3


def test_no_map_of_a_series_is_cut(tmp_path):
    """The middle one is the largest: its still leaves white all round, as do those of the others, at one zoom."""
    paths = [write(tmp_path, f"vol_{i}.mrc", ball(radius)) for i, radius in enumerate((4.0, 9.0, 5.0))]
    write_series_views(tmp_path, paths)
    seen = []
    for path in paths:
        with Image.open(path.with_suffix(".png")) as picture:
            dark = np.asarray(picture.convert("L")) < 250
        assert not dark[[0, -1]].any()
        assert not dark[:, [0, -1]].any()
        seen.append(np.sqrt(dark.mean() / np.pi) * 2)
    level, zoom = series_look(map(small_map, paths))
    radii = [np.sqrt(float((ball(r)[BOX // 2] > level).sum()) / np.pi) for r in (4.0, 9.0, 5.0)]
    assert seen == pytest.approx([zoom * radius / (BOX / 2) for radius in radii], rel=0.06)


def test_single_maps_have_levels_of_their_own_and_half_maps_no_stills(tmp_path):
    for name, height in (("consensus.mrc", 1.0), ("field.mrc", 100.0), ("half1_unfil.mrc", 1.0)):
        write(tmp_path, name, ball(7.0, height))
    write_map_views(tmp_path, ["consensus.mrc", "field.mrc", "half1_unfil.mrc", "half2_unfil.mrc"])
    assert sorted(path.name for path in tmp_path.glob("*.png")) == ["consensus.png", "field.png"]
    text = (tmp_path / "view.cxc").read_text()
    levels = [float(line.split("level ")[1].split()[0]) for line in text.splitlines() if line.startswith("volume #")]
    assert levels[1] == pytest.approx(100 * levels[0], rel=0.01)
    assert "half2" not in text
    assert dark_share(tmp_path / "consensus.png") == pytest.approx(dark_share(tmp_path / "field.png"), abs=0.01)


def test_names_of_half_maps():
    half = ("half1_unfil", "state_03_half2_unfil", "emd_half_map_1", "run_half1_class001_unfil")
    assert all(is_half_map(Path(f"{name}.mrc")) for name in half)
    assert not any(is_half_map(Path(f"{name}.mrc")) for name in ("state_03", "consensus", "vol_012", "behalf"))


def test_components_are_shown_with_both_signs(tmp_path):
    mean = write(tmp_path, "mean.mrc", ball(7.0))
    component = ball(3.0) - ball(2.0)
    path = write(tmp_path, "pc_1.mrc", component)
    write_component_views(tmp_path, mean, [path])
    spread = 3 * float(component.std())
    assert f'level {-spread:.5g} color "royal blue" level {spread:.5g} color goldenrod' in (tmp_path / "view.cxc").read_text()
    assert dark_share(tmp_path / "pc_1.png") > 0.01


def test_large_maps_are_drawn_small_at_the_same_densities(tmp_path):
    path = write(tmp_path, "large.mrc", ball(50.0, box=LARGEST_BOX + 32))
    small = small_map(path)
    assert small.shape == (LARGEST_BOX,) * 3
    assert small[LARGEST_BOX // 2, LARGEST_BOX // 2, LARGEST_BOX // 2] == pytest.approx(1.0, abs=0.02)


def test_places_in_a_series():
    assert [place_in_series(i, 4, 3, True) for i in range(4)] == [0, 1, 2, 1]
    assert [place_in_series(i, 5, 3, False) for i in range(5)] == [0, 0.5, 1, 1.5, 2]
    assert place_in_series(3, 6, 1, True) == 0


def test_a_gif_is_as_long_as_the_film_and_says_where_there_is_no_encoder(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    monkeypatch.setenv("PATH", str(tmp_path))
    frames = [Image.new("RGB", (32, 32), (4 * i, 0, 255 - 4 * i)) for i in range(60)]
    style = MovieStyle(seconds=1.0, frames_per_second=60)
    written, notes = write_movie(tmp_path / "a.gif", Film(frames, pd.DataFrame({"frame": range(60)})), style)
    assert [path.name for path in written] == ["a.gif", "a.csv"]
    assert "no ffmpeg" in notes[0]
    with Image.open(tmp_path / "a.gif") as film:
        assert film.n_frames * film.info["duration"] == pytest.approx(1000, abs=50)
