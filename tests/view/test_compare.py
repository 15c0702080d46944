"""Several jobs of a folder on one page."""

import shutil

import pytest

pytestmark = pytest.mark.slow  # a browser without a graphics card


def test_jobs_are_chosen_and_compared_with_what_differs(opened, job):
    other = shutil.copytree(job, job.parent / "rigid")
    for name in ("latents.npy", "checkpoints/field.safetensors"):
        (other / name).unlink()
    shutil.rmtree(other / "maps" / "states")
    text = (other / "job.toml").read_text()
    (other / "job.toml").write_text(text.replace("zdim = 2", "zdim = 0"))
    user = opened(job.parent)
    user.go_to("Compare jobs")
    user.page.wait_for_selector("#compare-table td")
    head = user.page.locator("#compare-table th").all_inner_texts()
    rows = [row.locator("td").all_inner_texts() for row in user.page.locator("#compare-table tbody tr").all()]
    assert "zdim" in head
    assert "particles" not in head  # the same for both
    assert [(row[0], row[head.index("zdim")]) for row in rows] == [("hinge", "2"), ("rigid", "0")]
    user.go_to("Maps")
    user.choose("maps-names", "rigid: maps/consensus")
    user.wait_for("maps-view", "rigid: maps/consensus")
    user.choose("page-jobs", "rigid")
    user.page.wait_for_function(
        "() => document.querySelector('#maps-view .annotation-text')?.textContent.includes('rigid: maps/consensus')"
    )
    user.go_to("Particles")
    user.wait_for_points("latents-scatter")
    user.click_at("latents-scatter", *first_point(user))
    user.page.wait_for_function("() => document.querySelector('#points-view .annotation-text')?.textContent.startsWith('row ')")


def first_point(user):
    trace = user.traces("latents-scatter")[0]
    right = max(range(len(trace["x"])), key=lambda i: trace["x"][i])
    return trace["x"][right], trace["y"][right]
