"""A browser uses the page: what it shows and saves is compared with what is computed without it."""

import numpy as np
import pytest

from cryodrake.io.cryodrgn import read_indices
from cryodrake.io.particles import read_particles

SCATTER = "latents-scatter"
pytestmark = pytest.mark.slow  # a browser without a graphics card

COUNT = "(words) => (document.getElementById('latents-count')?.innerText || '').startsWith(words)"

CORNER = """(id) => {
    const layout = document.getElementById(id).querySelector('.js-plotly-plot')._fullLayout;
    return [layout.xaxis.range[0] + 0.01, layout.yaxis.range[0] + 0.005, layout.yaxis.range[1] - 0.005];
}"""
ROWS = "(id) => Array.from(document.getElementById(id).querySelector('.js-plotly-plot')._fullData[0].customdata)"
FIRST_IMAGE = "(words) => document.querySelector('#images-pairs figcaption')?.innerText.startsWith(words)"


@pytest.fixture
def user(opened, job):
    """At the scatter of the job's particles."""
    user = opened(job)
    user.go_to("Particles")
    user.wait_for_points(SCATTER)
    user.page.wait_for_function(COUNT, arg="240 of 240")
    return user


@pytest.fixture
def reader(job):
    from cryodrake.view.job_reader import JobReader

    return JobReader(job, "job")


def save(user, kind, name="chosen"):
    user.page.fill("#save-name", name)
    user.choose("save-kind", kind)
    user.page.click("#save-go")
    user.page.wait_for_function("(name) => document.getElementById('save-words').innerText.includes(name)", arg=f"{name}{kind}")


def test_a_lasso_chooses_and_the_saved_star_has_exactly_those_rows(user, job):
    left, low, high = user.page.evaluate(CORNER, SCATTER)
    user.lasso(SCATTER, [(left, low), (left, high), (0, high), (0, low)])
    z = np.load(job / "latents.npy")
    expected = np.flatnonzero(z[:, 0] < 0)
    assert 50 < len(expected) < 190
    user.page.wait_for_function(COUNT, arg=f"{len(expected)} of 240")
    save(user, ".star")
    whole = read_particles(job / "particles.star", need_images=False)
    saved = read_particles(job / "selections" / "chosen.star", need_images=False)
    assert saved.index.tolist() == whole.index[expected].tolist()
    assert np.array_equal(saved.table.rotations, whole.table.rotations[expected])
    save(user, ".pkl")
    assert read_indices(job / "selections" / "chosen.pkl", len(z)).tolist() == expected.tolist()
    user.page.wait_for_function(FIRST_IMAGE, arg=f"row {expected[0]}")
    shown = [int(text.split()[1]) for text in user.page.locator("#images-pairs figcaption").all_inner_texts()]
    assert set(shown) <= set(expected.tolist())


def test_thresholds_narrow_the_choice_and_hide_the_others(user, job):
    user.choose("latents-limited", "confidence")
    thumb = user.thumb("latents-thresholds")
    for _ in range(3):
        thumb.press("PageUp")
    confidence = read_particles(job / "particles.star", need_images=False).table.confidence
    expected = np.flatnonzero(confidence > 0.5)
    user.page.wait_for_function(COUNT, arg=f"{len(expected)} of 240")
    user.page.wait_for_timeout(500)
    assert user.page.evaluate(ROWS, SCATTER) == expected.tolist()
    save(user, ".txt")
    assert np.loadtxt(job / "selections" / "chosen.txt", dtype=int).tolist() == expected.tolist()


def test_a_condition_chooses_and_a_wrong_one_is_said(user, job):
    user.page.fill("#latents-condition", "confidence > 0.5 and latent_1 < 0")
    user.page.keyboard.press("Enter")
    confidence = read_particles(job / "particles.star", need_images=False).table.confidence
    expected = np.flatnonzero((confidence > 0.5) & (np.load(job / "latents.npy")[:, 0] < 0))
    user.page.wait_for_function(COUNT, arg=f"{len(expected)} of 240")
    user.page.wait_for_timeout(500)
    assert user.page.evaluate(ROWS, SCATTER) == expected.tolist()
    save(user, ".txt")
    assert np.loadtxt(job / "selections" / "chosen.txt", dtype=int).tolist() == expected.tolist()
    user.page.fill("#latents-condition", "confidenc > 0.5")
    user.page.keyboard.press("Enter")
    user.page.wait_for_function("() => document.getElementById('latents-refusal').innerText.includes('did you mean confidence')")
    user.page.wait_for_function(COUNT, arg="240 of 240")


def test_a_click_decodes_the_map_of_that_particle(user, job, reader):
    z = np.load(job / "latents.npy")
    row = int(np.argmax(z[:, 0]))  # at the edge: nothing hides it
    user.click_at(SCATTER, *z[row])
    user.wait_for("points-view", f"row {row}")
    sigmas = float(user.thumb("points-level").get_attribute("aria-valuenow"))
    expected = reader.decode(reader.latents()[row]).surface(sigmas, hide_dust=True).vertices_A
    assert user.vertices("points-view") == pytest.approx(expected, abs=1e-3)
    other = reader.decode(reader.latents()[int(np.argmin(z[:, 0]))]).surface(sigmas, hide_dust=True).vertices_A
    assert other.shape != expected.shape or not np.allclose(other, expected, atol=0.5)


def test_the_level_slider_moves_the_surface_and_says_the_density(opened, job, reader):
    user = opened(job)
    user.go_to("Maps")
    user.wait_for("maps-view", "maps/consensus")
    before = np.abs(user.vertices("maps-view")).max()
    thumb = user.thumb("maps-level")
    for _ in range(30):
        thumb.press("ArrowRight")
    view = reader.viewable("maps/consensus")
    user.wait_for("maps-view", f"level {view.level(float(thumb.get_attribute('aria-valuenow'))):.4g}")
    assert np.abs(user.vertices("maps-view")).max() < before


def test_maps_stand_side_by_side_and_turn_together(opened, job):
    user = opened(job)
    user.go_to("Maps")
    user.choose("maps-names", "maps/states/state_00", "maps/states/state_01")
    user.wait_for("maps-view", "state_01")
    assert len(user.traces("maps-view")) == 3
    box = user.page.locator("#maps-view .js-plotly-plot").bounding_box()
    x, y = box["x"] + box["width"] / 6, box["y"] + box["height"] / 2
    user.page.mouse.move(x, y)
    user.page.mouse.down()
    user.page.mouse.move(x + 60, y + 20, steps=6)
    user.page.mouse.up()
    user.page.wait_for_function("""() => {
        const layout = document.querySelector('#maps-view .js-plotly-plot')._fullLayout;
        const eyes = ['scene', 'scene2', 'scene3'].map((name) => layout[name].camera.eye);
        return eyes.every((eye) => Math.abs(eye.x - eyes[0].x) < 1e-6 && Math.abs(eye.x) > 0.1);
    }""")


def test_a_morph_plays_and_slices_follow_their_sliders(user):
    user.wait_for("morph-view", "state 11 of 21")
    first = user.vertices("morph-view")
    user.page.click("#morph-play")
    user.wait_for("morph-view", "state 3 of 21")
    user.page.click("#morph-play")
    assert user.vertices("morph-view").shape != first.shape
    user.go_to("Maps")
    user.wait_for("slices-view", "z = 0.0 Å")
    user.thumb("slices-z").press("ArrowRight")
    user.page.wait_for_function("() => document.querySelector('#slices-view .annotation-text').textContent !== 'z = 0.0 Å'")


def test_what_cannot_be_saved_is_said(user, job):
    user.page.fill("#save-name", "../../outside")
    user.page.click("#save-go")
    user.page.wait_for_function("() => document.getElementById('save-words').innerText.includes('not a file name')")
    assert not (job / "selections").exists()
    assert not list(job.parent.parent.glob("outside*"))
