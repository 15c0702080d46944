"""What a report says: resolution, caveats and papers, against jobs whose truth is known."""

import re

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from cryodrake.analysis.references import REASONS, papers_behind
from cryodrake.analysis.report_input import extent, extent_words
from cryodrake.analysis.report_quality import Curve, statements
from cryodrake.analysis.viewing import coverage

FINISHED = {"state": "finished", "converged": True, "verdict": "converged: all is well", "warnings": [], "confident_share": 0.99}


def curve(fsc, unmasked=None, box_A=400.0):
    fsc = np.asarray(fsc, dtype=np.float64)
    bare = fsc if unmasked is None else np.asarray(unmasked, dtype=np.float64)
    return Curve(np.arange(1, len(fsc) + 1) / box_A, fsc, bare)


def said(command="abinit", options=None, status=FINISHED, n=5000, of=None, views=None, diagnosis=None):
    return statements(command, options or {"zdim": 0, "preset": "default"}, status, n, of, views, diagnosis)


def words(found):
    return " ".join(statement.words for statement in found)


def test_resolution_is_where_the_line_between_shells_crosses():
    found = curve([1, 0.9, 0.6, 0.1, 0.0, 0.0])
    assert found.resolution_A(0.5) == pytest.approx(400 / 3.2)  # 0.6 at shell 3 falls to 0.1 at shell 4
    assert found.resolution_A(0.143) == pytest.approx(400 / 3.914)
    assert found.finest_A == pytest.approx(400 / 6)
    assert curve([1, 0.9, 0.8]).resolution_A(0.143) is None


def test_a_curve_that_falls_at_the_last_shell_only_is_limited_by_the_pixels():
    assert "pixel size is the limit" in words(said(of=curve([1, 1, 0.8, 0.7, 0.6, 0.0])))
    assert "pixel size is the limit" in words(said(of=curve([1, 1, 0.8, 0.7, 0.6, 0.5])))
    assert "pixel size is the limit" not in words(said(of=curve([1, 1, 0.8, 0.1, 0.0, 0.0])))


def test_an_agreement_that_only_the_mask_makes_is_a_caution():
    masked = [1, 1, 0.9, 0.8, 0.7, 0.6, 0.0, 0.0, 0.0]
    suspicious = said(of=curve(masked, [1, 0.9, 0.1, 0, 0, 0, 0, 0, 0]))
    assert any(s.level == "caution" and "Without the mask" in s.words for s in suspicious)
    assert "Without the mask" not in words(said(of=curve(masked, masked)))


@pytest.mark.parametrize(
    ("status", "level", "says"),
    [
        (FINISHED, "good", "Converged: all is well"),
        (FINISHED | {"converged": False, "verdict": "NOT converged: x"}, "bad", "NOT converged"),
        (FINISHED | {"converged": None, "verdict": "half maps agree"}, "note", "Half maps agree"),
        (FINISHED | {"state": "failed", "verdict": "NaN image"}, "bad", "NaN image"),
        (FINISHED | {"state": "running"}, "caution", "not finished"),
        ({}, "caution", "not finished"),
    ],
)
def test_the_verdict_comes_first(status, level, says):
    first = said(status=status)[0]
    assert first.level == level
    assert says in first.words


def test_caveats_fit_the_command_and_the_options():
    assert "hand is arbitrary" in words(said())
    assert "too good" in words(said(options={"zdim": 0, "preset": "cryodrgn2"}))
    given = words(said("backproject", {"poses": "pose.pkl"}))
    assert "poses were given" in given
    assert "hand is arbitrary" not in given
    assert "blurred" in words(said())
    assert "run `cryodrake analyze`" in words(said(options={"zdim": 4}))
    rigid = FINISHED | {"verdict": "converged; no states were found: one rigid structure explains the images as well"}
    assert "latents say nothing" in words(said(options={"zdim": 4}, status=rigid))
    assert "few" in words(said(n=500))
    assert "few" not in words(said())
    assert "Only 40%" in words(said(status=FINISHED | {"confident_share": 0.4}))


def test_leaks_of_the_diagnosis_keep_their_weight():
    leaks = [{"verdict": "strong", "words": "tells the view"}, {"verdict": "clean", "words": "no defocus"}]
    found = said(options={"zdim": 4}, diagnosis={"leaks": leaks, "notes": ["scale was not looked at"]})
    levels = {s.words: s.level for s in found}
    assert (levels["tells the view"], levels["no defocus"], levels["scale was not looked at"]) == ("bad", "good", "note")


def test_views_from_one_side_are_a_warning():
    rng = np.random.default_rng(0)
    even = coverage(Rotation.random(3000, rng=rng).as_matrix(), nside=8)
    assert [s.level for s in said(views=even) if s.words == even.words] == ["good"]
    rot, tilt, psi = rng.uniform(0, 360, 3000), rng.normal(0, 5, 3000), rng.uniform(0, 360, 3000)
    top = Rotation.from_euler("ZYZ", np.column_stack([rot, tilt, psi]), degrees=True)
    one_side = coverage(top.as_matrix().transpose(0, 2, 1), nside=8)
    assert [s.level for s in said(views=one_side) if s.words == one_side.words] == ["bad"]


def test_values_that_agree_to_four_digits_are_one():
    assert extent_words(extent(np.array([2.7, 2.0, 2.5]))) == "2 to 2.7"
    assert extent_words(extent(np.array([1.06, 1.0600001]))) == "1.06"
    assert extent_words(extent(np.array([512, 512]))) == "512"


def dois(*arguments):
    return {reason.paper.doi for _, reason in papers_behind(*arguments)}


def test_papers_follow_the_options():
    recovar, ppca, vae, umap = (
        "10.1073/pnas.2419140122", "10.1111/1467-9868.00196", "10.48550/arXiv.1312.6114", "10.21105/joss.00861",
    )  # fmt: skip
    rigid = dois("abinit", {"zdim": 0, "preset": "default", "latents": "encoder"})
    assert not rigid & {recovar, ppca, vae, umap}
    flexible = dois("abinit", {"zdim": 4, "preset": "default", "latents": "encoder"})
    assert flexible & {recovar, ppca, vae, umap} == {recovar, ppca}
    published = dois("abinit", {"zdim": 4, "preset": "cryodrgn2", "latents": "encoder"}, True)
    assert published & {recovar, ppca, vae, umap} == {recovar, vae, umap}
    assert vae not in dois("abinit", {"zdim": 4, "preset": "cryodrgn2", "latents": "table"})
    assert dois("train", {"zdim": 8}) & {ppca, vae} == {ppca}
    assert "10.1086/427976" not in dois("backproject", {})


def test_options_that_call_for_a_paper_are_named():
    found = {
        reason.what: because
        for because, reason in papers_behind("abinit", {"zdim": 4, "preset": "cryodrgn2", "latents": "encoder"})
    }
    assert found["states read from images by a network"] == "preset = cryodrgn2, zdim = 4, latents = encoder"
    assert found["half sets"] == ""


def test_every_paper_can_be_found():
    papers = {reason.paper for reason in REASONS}
    assert {paper.title.split(":")[0] for paper in papers if not paper.doi} == {"CryoDRGN2"}
    assert all(re.fullmatch(r"10\.\d{4,5}/\S+", paper.doi) for paper in papers if paper.doi)
    assert all("(" in paper.where for paper in papers if not paper.doi)  # where to look instead
