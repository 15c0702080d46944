"""The numbers beside the figures of latents are those of the particles, and the figures are not blank."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from cryodrake.analysis import figures_latents as figures

RNG = np.random.default_rng(0)
N = 2000


def read(paths):
    picture, table = paths
    with Image.open(picture) as image:
        assert np.asarray(image.convert("RGB"), dtype=float).std() > 10, f"{picture.name} is blank"
    return pd.read_csv(table)


def test_hexagons_hold_every_particle_once(tmp_path):
    points = RNG.normal(size=(N, 2)) * [1, 3]
    table = read(figures.write_density(tmp_path / "a", points, ("pc1", "pc2")))
    assert table["particles"].sum() == N
    assert (table["particles"] >= 1).all()
    mean = (table[["pc1", "pc2"]].to_numpy() * table[["particles"]].to_numpy()).sum(axis=0) / N
    assert mean == pytest.approx(points.mean(axis=0), abs=0.05)


def test_clusters_are_counted(tmp_path):
    labels = RNG.integers(0, 3, N)
    points = np.stack([10.0 * labels, 0 * labels], axis=1) + RNG.normal(size=(N, 2))
    rows = np.array([int(np.flatnonzero(labels == i)[0]) for i in range(3)])
    table = read(figures.write_clusters(tmp_path / "a", points, ("x", "y"), labels, rows))
    assert table["particles"].tolist() == np.bincount(labels).tolist()
    assert table["centre_row"].tolist() == rows.tolist()
    assert table[["x", "y"]].to_numpy() == pytest.approx(points[rows], rel=1e-5)


def test_variance_adds_up(tmp_path):
    table = read(figures.write_variance(tmp_path / "a", np.array([0.5, 0.3, 0.2])))
    assert table["cumulative"].to_numpy() == pytest.approx([0.5, 0.8, 1.0])


def test_the_median_against_another_quantity_is_its_curve(tmp_path):
    defocus_A = RNG.uniform(1e4, 2e4, N)
    score = (defocus_A / 1e4 - 1.5) ** 2 + 0.01 * RNG.normal(size=N)
    table = read(figures.write_against(tmp_path / "a", defocus_A, "defocus_A", score, "pc1"))
    assert table["particles"].sum() == N
    assert len(table) == figures.BINS
    assert table["pc1_median"].to_numpy() == pytest.approx((table["defocus_A"].to_numpy() / 1e4 - 1.5) ** 2, abs=0.02)
    assert (table["pc1_q25"] < table["pc1_q75"]).all()
    two = read(figures.write_against(tmp_path / "b", np.repeat([1.0, 2.0], N // 2), "confidence", score, "pc1"))
    assert two["particles"].sum() == N  # few distinct values make few bins


def test_the_mean_by_view_is_that_of_the_views(tmp_path):
    """A score that is z of the view is high in the upper half of the map and low in the lower."""
    view = RNG.normal(size=(N, 3))
    view /= np.linalg.norm(view, axis=1, keepdims=True)
    table = read(figures.write_by_view(tmp_path / "a", view, view[:, 2], "pc1"))
    assert table["particles"].sum() == N
    assert (table["mean_pc1"] * table["particles"]).sum() == pytest.approx(view[:, 2].sum(), abs=1e-2)
    assert table["mean_pc1"][table["y"] > 0.3].min() > 0 > table["mean_pc1"][table["y"] < -0.3].max()
