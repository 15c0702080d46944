"""Spheres and an axis system: area, volume, orientation and place of a mesh."""

import numpy as np
import pytest

from cryodrake.analysis.isosurface import LARGEST_BOX, Viewable, isosurface


def ball(d, centre_xyz_px, width_px):
    """exp(-r²/2w²) about a point (x, y, z) from the map's centre."""
    axis = np.arange(d) - d // 2
    z, y, x = np.meshgrid(axis, axis, axis, indexing="ij")
    a, b, c = centre_xyz_px
    return np.exp(-((x - a) ** 2 + (y - b) ** 2 + (z - c) ** 2) / (2 * width_px**2)).astype(np.float32)


def area_and_volume(surface):
    a, b, c = surface.vertices_A[surface.faces].astype(np.float64).transpose(1, 0, 2)
    normals = np.cross(b - a, c - a)
    return np.linalg.norm(normals, axis=1).sum() / 2, (a * normals).sum() / 6


def test_a_sphere_has_its_area_and_its_volume_and_faces_outwards():
    surface = isosurface(ball(48, (0, 0, 0), 8), np.exp(-0.5 * (12 / 8) ** 2), 2.0)
    area, volume = area_and_volume(surface)
    assert area == pytest.approx(4 * np.pi * 24**2, rel=0.01)
    assert volume == pytest.approx(4 / 3 * np.pi * 24**3, rel=0.01)  # positive: normals point outwards


def test_vertices_are_x_y_z_in_A_from_the_centre():
    surface = isosurface(ball(32, (6, -3, 1), 2), 0.5, 3.0)
    assert surface.vertices_A.mean(axis=0) == pytest.approx([18, -9, 3], abs=0.1)


@pytest.mark.parametrize("level", [-1.0, 2.0])
def test_a_level_outside_the_map_gives_no_surface(level):
    assert len(isosurface(ball(16, (0, 0, 0), 3), level, 1.0).faces) == 0


def test_levels_count_standard_deviations_and_the_suggested_one_is_between_particle_and_solvent():
    volume = ball(32, (0, 0, 0), 4) * 5 + 7
    view = Viewable.of(volume, 1.5)
    assert view.level(0) == pytest.approx(volume.mean(), rel=1e-5)
    assert view.level(2) - view.level(0) == pytest.approx(2 * volume.std(), rel=1e-3)
    assert view.level(view.highest) == pytest.approx(volume.max(), rel=1e-5)
    assert 7.5 < view.level(view.suggested) < 11.5


def test_a_large_map_is_made_smaller_over_the_same_field_of_view():
    view = Viewable.of(ball(144, (0, 0, 0), 20), 1.0)
    assert view.volume.shape == (LARGEST_BOX,) * 3
    assert view.pixel_size_A * LARGEST_BOX == pytest.approx(144)
    area, _ = area_and_volume(isosurface(view.volume, np.exp(-0.5), view.pixel_size_A))
    assert area == pytest.approx(4 * np.pi * 20**2, rel=0.01)


def test_dust_goes():
    volume = ball(32, (0, 0, 0), 4) + ball(32, (11, 11, 11), 1)
    view = Viewable.of(volume, 1.0)
    level = (0.5 - view.mean) / view.sigma
    assert np.abs(view.surface(level).vertices_A).max() > 10
    assert np.abs(view.surface(level, hide_dust=True).vertices_A).max() < 6


def test_a_constant_map_can_be_looked_at():
    view = Viewable.of(np.zeros((8, 8, 8), np.float32), 1.0)
    assert len(view.surface(view.suggested).faces) == 0
