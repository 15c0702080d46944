"""A small finished job with two states, served to a headless Chromium where there is one."""

import shutil
import threading
from pathlib import Path

import numpy as np
import pytest
import torch

from cryodrake.data.simulation import simulate
from cryodrake.data.simulation_config import SimulateConfig
from cryodrake.fields.factored import FactoredField
from cryodrake.fields.grid import GridField
from cryodrake.fields.mixer import AffineMixer
from cryodrake.fields.store import save_field
from cryodrake.io.job import JobFolder
from cryodrake.io.mrc import read_map, write_map
from cryodrake.io.particles import read_particles
from cryodrake.physics.fsc import fsc
from cryodrake.training.stages import save_stage

BOX, N = 32, 240
CHROMIUM = Path("/usr/bin/chromium")
FLAGS = [
    "--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
]  # fmt: skip


# How tests look into plotly's figures.
READ = """(id) => {
    const graph = document.getElementById(id).querySelector('.js-plotly-plot');
    return graph._fullData.map((t) => ({x: Array.from(t.x || []), y: Array.from(t.y || []), z: Array.from(t.z || [])}));
}"""
PLACE = """([id, x, y]) => {
    const graph = document.getElementById(id).querySelector('.js-plotly-plot');
    const box = graph.getBoundingClientRect(), layout = graph._fullLayout;
    return [box.left + layout.xaxis._offset + layout.xaxis.d2p(x), box.top + layout.yaxis._offset + layout.yaxis.d2p(y)];
}"""
HAS_TITLE = """([id, words]) =>
    [...document.querySelectorAll(`#${id} .annotation-text`)].some((e) => e.textContent.includes(words))"""
HAS_POINTS = """(id) => (document.getElementById(id)?.querySelector('.js-plotly-plot')?._fullData || [])
    .some((t) => t.type === 'scattergl')"""


class User:
    """Someone at the page, with a mouse and a keyboard."""

    def __init__(self, page):
        self.page = page

    def go_to(self, tab):
        self.page.locator(".tab").get_by_text(tab, exact=True).click()

    def choose(self, dropdown, *options):
        """Ticks options of a drop-down list."""
        self.page.click(f"#{dropdown}")
        for option in options:
            self.page.locator(".dash-options-list-option", has_text=option).first.click()
        if self.page.locator(".dash-options-list-option").count():
            self.page.keyboard.press("Escape")

    def thumb(self, slider):
        """A slider's handle, to press keys on."""
        found = self.page.locator(f"#{slider} [role=slider]").or_(self.page.locator(f"#{slider}[role=slider]")).first
        found.focus()
        return found

    def traces(self, graph):
        """The x, y and z of what a graph shows."""
        return self.page.evaluate(READ, graph)

    def vertices(self, graph):
        """(v 3) of a graph's first surface."""
        found = self.traces(graph)[0]
        return np.stack([np.array(found[axis], dtype=np.float64) for axis in "xyz"], axis=1)

    def titles(self, graph):
        """The words above a graph's maps."""
        return self.page.locator(f"#{graph} .annotation-text").all_inner_texts()

    def wait_for(self, graph, title):
        """Until a map of this name is there."""
        self.page.wait_for_function(HAS_TITLE, arg=[graph, title])

    def wait_for_points(self, graph):
        """Until a scatter is drawn: WebGL draws a little after plotly says so."""
        self.page.wait_for_function(HAS_POINTS, arg=graph)
        self.page.wait_for_timeout(300)

    def place(self, graph, x, y):
        """Where a point of the graph's axes is on the page."""
        return self.page.evaluate(PLACE, [graph, float(x), float(y)])

    def lasso(self, graph, corners):
        """Draws around these points of the axes."""
        places = [self.place(graph, x, y) for x, y in corners]
        self.page.mouse.move(*places[0])
        self.page.mouse.down()
        for place in [*places[1:], places[0]]:
            self.page.mouse.move(*place, steps=5)
        self.page.mouse.up()

    def click_at(self, graph, x, y):
        """Clicks a point of the axes: hovered first, as a hand does."""
        place = self.place(graph, x, y)
        self.page.mouse.move(place[0] - 3, place[1] - 3)
        self.page.mouse.move(*place)
        self.page.wait_for_timeout(150)
        self.page.mouse.click(*place)


@pytest.fixture(scope="session")
def finished_job(tmp_path_factory):
    """Two states of a hinge, at z = (±1, little); 20 % of the particles are not sure of their pose."""
    folder = tmp_path_factory.mktemp("view")
    config = SimulateConfig(out=folder / "data", motion="hinge", states=2, n=N, box=BOX, snr=1.0, shift_px=2, seed=3)
    data = simulate(config)
    job = folder / "jobs" / "hinge"
    (job / "checkpoints").mkdir(parents=True)
    (job / "maps" / "states").mkdir(parents=True)
    truth = read_particles(data / "truth" / "particles.star", need_images=False).table
    half = np.arange(N) % 2 + 1
    confidence = np.where(np.arange(N) % 5 == 0, 0.3, 0.9)
    poses = {"rotations": truth.rotations, "shifts_A": truth.shifts_A, "half_set": half, "confidence": confidence}
    read_particles(data / "particles.star").write_star(job / "particles.star", **poses)
    (job / "job.toml").write_text(f'command = "abinit"\n\n[options]\nparticles = "{data / "particles.star"}"\nzdim = 2\n')
    z = 2.0 * np.load(data / "truth" / "state.npy") - 1 + 0.05 * np.random.default_rng(1).standard_normal(N)
    np.save(job / "latents.npy", np.stack([z, 0.3 * np.cos(np.arange(N))], axis=1).astype(np.float32))
    read = [read_map(path) for path in sorted((data / "truth" / "volumes").glob("*.mrc"))]
    states, pixel_size_A = torch.stack([torch.from_numpy(volume) for volume, _ in read]), read[0][1]
    basis = GridField(BOX, BOX * pixel_size_A, 3)
    with torch.no_grad():
        basis.density.copy_(torch.stack([states.mean(0), (states[1] - states[0]) / 2, torch.zeros_like(states[0])]))
    save_field(job / "checkpoints" / "field.safetensors", FactoredField(basis, AffineMixer(2)))
    write_map(job / "maps" / "consensus.mrc", states.mean(0).numpy(), pixel_size_A)
    for i, state in enumerate(states):
        write_map(job / "maps" / "states" / f"state_{i:02d}.mrc", state.numpy(), pixel_size_A)
    curve = fsc(states[0], states[1]).numpy()
    rows = [f"{s / (BOX * pixel_size_A):.6f},{value:.6f}" for s, value in enumerate(curve)][1:]
    (job / "maps" / "fsc.csv").write_text("frequency_inv_A,fsc\n" + "\n".join(rows) + "\n")
    for i in range(3):
        save_stage(job / "figures" / "stages", f"refine {i + 1}", states.mean(0).numpy(), pixel_size_A, 30.0 - i)
    folder_of_job = JobFolder(job)
    folder_of_job.event("phase", name="refine 1", total=2, words="searching")
    folder_of_job.event("step", done=2, resolution_A=25.0, confident_share=0.8, mean_pose_change_deg=3.0)
    folder_of_job.log("refine 1: searching")
    folder_of_job.write_status(state="finished", resolution_A=25.0, verdict="converged: half maps agree to 25 Å")
    return job


@pytest.fixture
def job(finished_job, tmp_path):
    """A copy that a test may change."""
    return Path(shutil.copytree(finished_job, tmp_path / "jobs" / "hinge"))


@pytest.fixture(scope="session")
def browser():
    """Headless Chromium that can reach nothing but 127.0.0.1."""
    sync_api = pytest.importorskip("playwright.sync_api")
    if not CHROMIUM.exists():
        pytest.skip("no Chromium")
    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=str(CHROMIUM), headless=True, args=FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture
def served():
    """A function that serves a folder and gives the link."""
    pytest.importorskip("dash")
    from cryodrake.view.server import bind, make_app, new_token
    from cryodrake.view.shelf import Shelf

    servers = []

    def serve(folder):
        token = new_token()
        server = bind(make_app(Shelf(folder), token), 8100)
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        servers.append((server, thread))
        return f"http://127.0.0.1:{server.port}/?token={token}"

    yield serve
    for server, thread in servers:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def opened(browser, served):
    """A function that opens a folder's page; in the end there must have been no error, and no request to elsewhere."""
    contexts, said, asked = [], [], []

    def open_page(folder):
        link = served(folder)
        context = browser.new_context(viewport={"width": 1400, "height": 1000}, accept_downloads=True)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: said.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(link)
        page.wait_for_selector("#page-tabs")
        return User(page)

    yield open_page
    for context in contexts:
        context.close()
    assert said == []
    assert all(url.startswith(("http://127.0.0.1:", "data:", "blob:")) for url in asked)
