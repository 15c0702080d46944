"""A selection holds the chosen particles, in the order chosen, and its numbers count rows of the job's own input."""

import pickle

import numpy as np
import pytest

from cryodrake.analysis.selection import save_selection
from cryodrake.errors import InputError
from cryodrake.io.cryodrgn import read_indices, write_indices
from cryodrake.io.particles import read_particles


def test_a_star_is_the_jobs_without_the_other_rows(finished_job, tmp_path):
    job = finished_job()
    save_selection(job, np.array([4, 1]), tmp_path / "out.star")
    before = (job / "particles.star").read_text().splitlines()
    after = (tmp_path / "out.star").read_text().splitlines()
    particles = [line for line in before if "@a.mrcs" in line]
    assert [line for line in after if "@a.mrcs" in line] == [particles[4], particles[1]]
    assert [line for line in after if line.startswith("_rln")] == [line for line in before if line.startswith("_rln")]


@pytest.mark.parametrize("is_mask", [False, True])
def test_numbers_are_rows_of_the_file_the_job_began_with(finished_job, tmp_path, is_mask):
    kept = np.array([1, 2, 3, 5])
    ind = tmp_path / "ind.pkl"
    write_indices(ind, kept)
    if is_mask:
        ind.write_bytes(pickle.dumps(np.isin(np.arange(6), kept)))
    job = finished_job(f'ind = "{ind}"', kept)
    for name in ("sel.pkl", "sel.txt"):
        save_selection(job, np.array([3, 0]), tmp_path / name)
    assert read_indices(tmp_path / "sel.pkl", 6).tolist() == [5, 1]
    assert (tmp_path / "sel.txt").read_text() == "5\n1\n"
    again = read_particles(tmp_path / "a.star", ind=tmp_path / "sel.pkl", need_images=False)
    chosen = read_particles(job / "particles.star", need_images=False).select(np.array([3, 0]))
    np.testing.assert_array_equal(again.table.ctf.defocus_u_A, chosen.table.ctf.defocus_u_A)
    ind.unlink()
    with pytest.raises(InputError, match="is gone"):
        save_selection(job, np.array([0]), tmp_path / "more.pkl")


@pytest.mark.parametrize(
    ("name", "rows", "says"),
    [
        ("a.csv", [1], "no format"),
        ("out.star", [], "no particles"),
        ("out.star", [6], "0 to 5"),
        ("out.star", [-1], "0 to 5"),
        ("a.txt", [2, 2], "twice"),
        ("a.cs", [1], "no such file"),
        ("taken.star", [1], "there already"),
    ],
)
def test_what_cannot_be_saved_is_said(finished_job, tmp_path, name, rows, says):
    job = finished_job()
    (tmp_path / "taken.star").write_text("precious")
    with pytest.raises(InputError) as caught:
        save_selection(job, np.array(rows, dtype=np.int64), tmp_path / name)
    assert says in str(caught.value)
    assert not (tmp_path / name).exists() or (tmp_path / name).read_text() == "precious"
