"""The web page of `cryodrake view` in a headless Chromium: from a click to the map there, and frames while 300,000 points move.

    python benchmarks/bench_view.py                     python benchmarks/bench_view.py --particles 1000000 --box 128

A job is made up: random states, a field of voxels with one map a coordinate. Chromium draws in software (SwiftShader), on the
same cores that decode: a machine with a graphics card is faster. Needs the extra `view`, playwright and Chromium.
"""

import argparse
import shutil
import statistics
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import machine
import numpy as np
import torch
from scipy.spatial.transform import Rotation
from tables import table, write_json

from cryodrake.data.density import gaussian_density
from cryodrake.data.procedural import procedural_complex
from cryodrake.fields.factored import FactoredField
from cryodrake.fields.grid import GridField
from cryodrake.fields.mixer import AffineMixer
from cryodrake.fields.store import save_field
from cryodrake.io.job import JobFolder
from cryodrake.io.mrc import StackWriter, write_map
from cryodrake.io.relion_write import write_new_star
from cryodrake.io.table import ParticleTable

ZDIM, FIELD_A, FRAMES = 4, 320.0, 100  # particles share images of a small stack
FLAGS = ["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist"]
GRAPH = "document.querySelector('#latents-scatter .js-plotly-plot')"
PLACE = f"""([x, y]) => {{
    const box = {GRAPH}.getBoundingClientRect(), layout = {GRAPH}._fullLayout;
    return [box.left + layout.xaxis._offset + layout.xaxis.d2p(x), box.top + layout.yaxis._offset + layout.yaxis.d2p(y)];
}}"""
HAS_MAP = "() => document.querySelector('#points-view .annotation-text')?.textContent !== window.before"
RECORD = """() => {
    window.frames_ms = [];
    let last = performance.now();
    const tick = (now) => { window.frames_ms.push(now - last); last = now; window.timer = requestAnimationFrame(tick); };
    window.timer = requestAnimationFrame(tick);
}"""


def make_job(folder: Path, n: int, box: int) -> Path:
    """A finished job of n particles with states."""
    job, rng = folder / "job", np.random.default_rng(0)
    (job / "checkpoints").mkdir(parents=True)
    (job / "maps").mkdir()
    pixel_size_A = FIELD_A / box
    ctf_free = ParticleTable(
        pixel_size_A=np.full(n, pixel_size_A), optics_group=np.zeros(n, dtype=np.int64), box=np.full(n, box),
        rotations=Rotation.random(n, rng=rng).as_matrix(), shifts_A=rng.normal(size=(n, 2)), confidence=rng.uniform(size=n),
    )  # fmt: skip
    write_new_star(job / "particles.star", ctf_free, ("particles.mrcs",), np.zeros(n, dtype=np.int64), np.arange(n) % FRAMES)
    with StackWriter(job / "particles.mrcs", FRAMES, box, pixel_size_A) as stack:
        stack.write(rng.normal(size=(FRAMES, box, box)))
    np.save(job / "latents.npy", rng.normal(size=(n, ZDIM)).astype(np.float32))
    atoms = torch.from_numpy(procedural_complex(seed=0))
    mean = gaussian_density(atoms, torch.full((len(atoms),), 100.0), box, pixel_size_A, 2 * pixel_size_A)
    basis = GridField(box, FIELD_A, ZDIM + 1)
    with torch.no_grad():
        basis.density.copy_(torch.stack([mean, *(0.1 * mean.roll(3, axis % 3) for axis in range(ZDIM))]))
    save_field(job / "checkpoints" / "field.safetensors", FactoredField(basis, AffineMixer(ZDIM)))
    write_map(job / "maps" / "consensus.mrc", mean.numpy(), pixel_size_A)
    (job / "job.toml").write_text(f'command = "abinit"\n\n[options]\nparticles = "{job / "particles.star"}"\n')
    JobFolder(job).write_status(state="finished")
    return job


def missing(chromium: str) -> str | None:
    """What of the three is not there or does not start, in words; tried before a job is made."""
    try:
        import dash  # noqa: F401
        from playwright.sync_api import Error, sync_playwright
    except ImportError as error:
        return f"{error.name} is not installed"
    if shutil.which(chromium) is None:
        return f"there is no {chromium}"
    try:
        with sync_playwright() as playwright:
            launch(playwright, chromium).close()
    except Error as error:
        return f"{chromium} does not start ({str(error).splitlines()[0]})"
    return None


def launch(playwright: Any, chromium: str) -> Any:
    """Headless, drawing in software."""
    return playwright.chromium.launch(executable_path=shutil.which(chromium), headless=True, args=FLAGS)


def measure(link: str, chromium: str, clicks: int) -> dict[str, Any]:
    """Seconds and milliseconds as a user has them."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = launch(playwright, chromium)
        page = browser.new_page(viewport={"width": 1400, "height": 1000})
        began = time.perf_counter()
        page.goto(link)
        page.locator(".tab").get_by_text("Particles", exact=True).click()
        page.wait_for_function(f"() => {GRAPH}?._fullData?.[0]?.x?.length > 0", timeout=120_000)
        page.wait_for_function("() => document.getElementById('latents-count')?.innerText", timeout=120_000)
        opened_s = time.perf_counter() - began
        page.wait_for_timeout(3000)
        clicked_s = [_click(page, i) for i in range(clicks + 1)][1:]  # the first reads the field
        frames_ms = _pan(page)
        browser.close()
    return {
        "opened_s": opened_s, "click_median_s": statistics.median(clicked_s), "click_worst_s": max(clicked_s),
        "frame_median_ms": statistics.median(frames_ms),
        "frame_95_ms": float(np.percentile(frames_ms, 95)), "frames": len(frames_ms),
    }  # fmt: skip


def _click(page: Any, i: int) -> float:
    """Seconds from the click to the map of that particle on the screen."""
    page.evaluate("() => { window.before = document.querySelector('#points-view .annotation-text')?.textContent; }")
    x, y = page.evaluate(PLACE, [0.3 * (i % 5) - 0.6, 0.25 * (i // 5) - 0.5])
    page.mouse.move(x - 40, y)
    page.wait_for_timeout(200)
    page.mouse.move(x, y)
    page.wait_for_selector("#latents-scatter .hoverlayer .hovertext")  # the point is found
    page.wait_for_timeout(300)  # a hand rests before it clicks
    began = time.perf_counter()
    page.mouse.click(x, y)
    page.wait_for_function(HAS_MAP, timeout=60_000)
    page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    return time.perf_counter() - began


def _pan(page: Any, moves: int = 80) -> list[float]:
    """Times between frames while the scatter is dragged about."""
    page.evaluate(f"() => window.Plotly.relayout({GRAPH}, {{dragmode: 'pan'}})")
    page.wait_for_timeout(1000)
    x, y = page.evaluate(PLACE, [0.0, 0.0])
    page.mouse.move(x, y)
    page.mouse.down()
    page.evaluate(RECORD)
    for i in range(moves):
        page.mouse.move(x + 100 * np.sin(i / 8), y + 60 * np.sin(i / 5))
    page.mouse.up()
    return page.evaluate("() => { cancelAnimationFrame(window.timer); return window.frames_ms.slice(1); }")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--particles", type=int, default=300_000)
    parser.add_argument("--box", type=int, default=64)
    parser.add_argument("--clicks", type=int, default=10)
    parser.add_argument("--chromium", default="chromium", help="name or path of the program")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    why_not = missing(options.chromium)
    if why_not is not None:
        print(f"{why_not}: nothing is measured")
        return
    from cryodrake.view.server import bind, make_app, new_token
    from cryodrake.view.shelf import Shelf

    found = machine.describe()
    with tempfile.TemporaryDirectory() as folder:
        token = new_token()
        server = bind(make_app(Shelf(make_job(Path(folder), options.particles, options.box)), token), 8200)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        numbers = measure(f"http://127.0.0.1:{server.port}/?token={token}", options.chromium, options.clicks)
        server.shutdown()
    print(machine.words(found))
    rows = [[options.particles, options.box, *(f"{value:.3g}" for value in numbers.values())]]
    print(table(["particles", "box", *numbers], rows))
    if options.out:
        write_json(options.out, {"machine": found, "particles": options.particles, "box": options.box} | numbers)


if __name__ == "__main__":
    main()
