"""The report is one file that needs nothing else, and nothing that a job folder holds can make it more than that."""

import base64
import json
import re
import shutil
from html import escape
from html.parser import HTMLParser

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from cryodrake.analysis.viewing import coverage
from cryodrake.app.cli import main
from cryodrake.app.options import write_options
from cryodrake.io.html import table
from cryodrake.io.particles import read_particles
from cryodrake.io.relion_write import write_new_star
from cryodrake.io.table import CTFColumns, ParticleTable
from cryodrake.training.config import AbinitConfig

N = 40
PNG = base64.b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==")
EVIL = '<script>alert(1)</script>"><img src=http://evil.example/x onerror=alert(2)>'


class Reader(HTMLParser):
    """Every tag with its attributes, and the text."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.text = [], ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data + " "


@pytest.fixture
def job(tmp_path):
    folder = tmp_path / "job"
    for name in ("maps", "figures", "analysis"):
        (folder / name).mkdir(parents=True)
    config = AbinitConfig(particles=tmp_path / "a.star", out=folder, zdim=4, seed=7)
    (folder / "job.toml").write_text(write_options(config, "abinit"))
    status = {"state": "finished", "converged": True, "verdict": "converged: fine", "warnings": [], "version": "0.1.0"}
    (folder / "status.json").write_text(json.dumps(status))
    events = [("phase", 10.0, "reading"), ("step", 14.0, ""), ("phase", 15.0, "searching"), ("step", 75.0, "")]
    lines = [json.dumps({"event": kind, "time": time, "words": words}) for kind, time, words in events]
    (folder / "events.jsonl").write_text("\n".join(lines) + '\n{"event": "st')
    rows = [f"{s / 200:.6f},{max(0.0, 1 - s / 8):.6f},{max(0.0, 1 - s / 8):.6f}" for s in range(1, 13)]
    (folder / "maps" / "fsc.csv").write_text("frequency_inv_A,fsc,fsc_unmasked\n" + "\n".join(rows) + "\n")
    (folder / "figures" / "fsc.png").write_bytes(PNG)
    flat = [np.full(N, value) for value in (300.0, 2.7, 0.1)]
    defocus_A = np.linspace(10000, 20000, N)
    ctf = CTFColumns(*flat, defocus_A, defocus_A, np.zeros(N), np.zeros(N), np.zeros(N))
    rotations = Rotation.random(N, rng=np.random.default_rng(0)).as_matrix()
    half = np.arange(N) % 2 + 1
    table_ = ParticleTable(np.full(N, 3.5), np.arange(N) // 30, np.full(N, 64), ctf, rotations, np.zeros((N, 2)), half, np.ones(N))
    write_new_star(folder / "particles.star", table_, ("a.mrcs",), np.zeros(N, int), np.arange(N))
    return folder


def report(job, *options):
    assert main(["report", str(job), *options]) == 0
    return (job / "report.html").read_text(encoding="utf-8")


def test_it_says_what_the_job_says(job):
    text = Reader(report(job)).text
    text = " ".join(text.split())
    for part in ("Converged: fine", "particles 40", "1.50 µm", "20 and 20", "3.5", "reading 4", "searching 60"):
        assert part in text
    assert "not finished" not in text
    assert "29.2 Å" in text  # 1 - s/8 falls to 0.143 at shell 6.856 of a 200 Å box
    assert "10.1073/pnas.2419140122" in text


def test_groups_and_changed_options_are_told_apart(job):
    page = report(job)
    assert "<tr><td>30</td><td>64</td>" in page
    assert "<tr><td>10</td><td>64</td>" in page
    assert "<tr><td>seed</td><td>7</td><td>changed</td></tr>" in page
    assert "<tr><td>preset</td><td>default</td><td>default</td></tr>" in page


def test_nothing_is_loaded_from_anywhere(job):
    page = Reader(report(job))
    allowed = {
        "html",
        "head",
        "meta",
        "title",
        "style",
        "body",
        "h1",
        "h2",
        "p",
        "table",
        "thead",
        "tbody",
        "tr",
        "th",
        "td",
        "figure",
    }
    assert {tag for tag, _ in page.tags} <= allowed | {"img", "figcaption", "a"}
    assert all(a["src"].startswith("data:image/") for tag, a in page.tags if tag == "img")
    assert all(a["href"].startswith("https://doi.org/10.") for tag, a in page.tags if tag == "a")
    policies = [a["content"] for tag, a in page.tags if a.get("http-equiv") == "Content-Security-Policy"]
    assert policies == ["default-src 'none'; img-src data:; style-src 'unsafe-inline'"]
    pictures = [a["src"] for tag, a in page.tags if tag == "img"]
    assert base64.b64decode(pictures[0].split(",")[1]) == PNG


def test_hostile_text_stays_text(job):
    clean = {tag for tag, _ in Reader(report(job)).tags}
    (job / "job.toml").write_text(f'command = "abinit"\n[options]\nparticles = \'{EVIL}\'\nzdim = 4\n"{EVIL[:8]}" = 1\n')
    status = {"state": "finished", "verdict": EVIL, "warnings": [EVIL], "version": EVIL}
    (job / "status.json").write_text(json.dumps(status))
    (job / "events.jsonl").write_text(json.dumps({"event": "phase", "time": 1, "words": EVIL}) + "\n")
    leak = {"verdict": EVIL, "words": EVIL}
    (job / "analysis" / "diagnostics.json").write_text(json.dumps({"leaks": [leak], "notes": [EVIL]}))
    (job / "figures" / "a<script>.png").write_bytes(PNG)
    page = Reader(report(job))
    assert {tag for tag, _ in page.tags} == clean
    assert all(not name.startswith("on") for _, attributes in page.tags for name in attributes)
    assert "alert(1)" in page.text
    assert "<script>" in page.text
    assert "<script" not in table(["<script>"], [["<script>", "https://doi.org/<script>"]]).replace("&lt;script", "")


def test_only_pictures_of_the_job_go_in(job, tmp_path):
    (tmp_path / "secret.png").write_bytes(PNG + b"secret")
    (job / "figures" / "link.png").symlink_to(tmp_path / "secret.png")
    (job / "figures" / "text.png").write_text("no picture")
    pictures = [a for tag, a in Reader(report(job)).tags if tag == "img"]
    assert [a["alt"] for a in pictures] == ["The half maps' agreement"]


def test_a_job_that_has_only_begun_is_reported(job):
    for name in ("particles.star", "events.jsonl", "status.json", "maps/fsc.csv"):
        (job / name).unlink()
    assert "not finished" in report(job)


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("job.toml", None, "no job is here"),
        ("job.toml", 'command = "simulate"\n[options]\n', "one of abinit"),
        ("status.json", "{", "status.json"),
        ("status.json", "[1]", "holds no table"),
        ("status.json", '{"warnings": "abc"}', "warnings is 'abc'"),
        ("status.json", '{"confident_share": "all"}', "confident_share is 'all'"),
        ("analysis/diagnostics.json", '{"leaks": [1]}', "leaks are no tables"),
        ("maps/fsc.csv", "a,b\n1,2\n", "frequency_inv_A"),
        ("maps/fsc.csv", "frequency_inv_A,fsc,fsc_unmasked\n0,nan,1\n", "values that are none"),
    ],
)
def test_damage_is_the_users_to_know(job, capsys, name, content, says):
    (job / name).unlink(missing_ok=True)
    if content is not None:
        (job / name).write_text(content)
    assert main(["report", str(job)]) == 2
    assert says in capsys.readouterr().err
    assert not (job / "report.html").exists()


def test_it_goes_where_it_is_told(job, tmp_path, capsys):
    assert main(["report", str(job), "-o", str(tmp_path / "r.html")]) == 0
    assert str(tmp_path / "r.html") in capsys.readouterr().out
    assert main(["report", str(job), "-o", str(tmp_path / "r.pdf")]) == 2
    (tmp_path / "mine.html").write_text("precious")
    assert main(["report", str(job), "-o", str(tmp_path / "mine.html")]) == 2
    assert (tmp_path / "mine.html").read_text() == "precious"
    assert report(job) == report(job)  # its own, again


def test_what_is_not_known_of_the_optics_is_not_said_to_differ(job):
    star = "data_\n\nloop_\n_rlnImageName\n_rlnDetectorPixelSize\n_rlnMagnification\n1@a.mrcs 3.5 10000\n2@a.mrcs 3.5 10000\n"
    (job / "particles.star").write_text(star)
    cells = ("2", "not known", "3.5", "not known", "not known", "not known")
    assert f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>" in report(job)


def with_classes(job):
    """Two classes of it: 30 images that agree to 20 Å, 10 that agree to 33 Å."""
    star = read_particles(job / "particles.star", need_images=False)
    for number, rows, last in ((1, np.arange(30), 10), (2, np.arange(30, 40), 6)):
        folder = job / "classes" / f"class_{number:02d}"
        for name in ("maps", "figures"):
            (folder / name).mkdir(parents=True)
        shutil.copy(job / "job.toml", folder)
        status = {"state": "finished", "converged": number == 1, "verdict": f"verdict of {number}", "warnings": []}
        (folder / "status.json").write_text(json.dumps(status))
        lines = [f"{s / 200:.6f},{float(s < last)},{float(s < last)}" for s in range(1, 13)]
        (folder / "maps" / "fsc.csv").write_text("frequency_inv_A,fsc,fsc_unmasked\n" + "\n".join(lines) + "\n")
        for name in ("maps/consensus.png", "figures/progress.png", "figures/fsc.png", "figures/views.png"):
            (folder / name).write_bytes(PNG)
        star.select(rows).write_star(folder / "particles.star")
    (job / "maps" / "states").mkdir()
    states = [f"maps/states/state_{i:02d}.png" for i in range(2)]
    for name in ("figures/progress.png", "figures/progress.gif", "maps/consensus.png", *states):
        (job / name).write_bytes(PNG)
    return job


def test_each_class_has_a_section_and_the_whole_has_not_the_first_ones_numbers(job):
    text = report(with_classes(job))
    alone, one, two = re.split(r"<h2>Class [12]", text)
    two, after = two.split("<h2>Figures", 1)
    assert one.startswith(": 30 images, 75% of all<")
    assert two.startswith(": 10 images, 25% of all<")
    for part, number, shell in ((one, 1, 9.857), (two, 2, 5.857)):  # a step from 1 to 0 is at 0.143 after 0.857 of a shell
        assert f"Verdict of {number}" in part
        assert f"The half maps agree to {200 / shell:.1f} Å" in part
        for words in ("the map", "the map over the run", "the half maps&#x27; agreement", "where the particles were seen from"):
            assert f"<figcaption>Class {number}: {words}</figcaption>" in part
        assert f"classes/class_{number:02d}" in part
    assert 'class="mark good">Verdict of 1' in one
    assert 'class="mark bad">Verdict of 2' in two
    assert "half maps agree" not in alone
    assert "Converged: fine" in alone
    assert re.findall("<figcaption>(.*?)</figcaption>", after) == ["The map of class 1", "The map of class 2"]
    assert "<td>the half maps&#x27; agreement (of class 1, the largest)</td>" in alone


def test_a_class_that_lies_outside_the_job_is_not_in_its_report(job, tmp_path):
    with_classes(job)
    shutil.move(job / "classes" / "class_02", tmp_path / "elsewhere")
    (job / "classes" / "class_02").symlink_to(tmp_path / "elsewhere")
    text = report(job)
    assert "Verdict of 1" in text
    assert "Verdict of 2" not in text


def test_views_are_not_counted_over_the_frames_of_several_classes(job):
    one_frame = report(job)
    np.save(job / "classes.npy", np.arange(N) % 2)
    (job / "classes").mkdir(exist_ok=True)
    several = report(job)
    words = coverage(read_particles(job / "particles.star", need_images=False).table.rotations).words
    assert escape(words) in one_frame
    assert escape(words) not in several
    assert "a job of its own for each class" in several
