"""Every command on the pages of docs/ is read by the real parser, and all that take seconds are run, on a tiny simulated set.

Reconstructions stand in for themselves: `abinit`, `train` and `backproject` leave a copy of a job made once by `train` or
`backproject` on the true poses, so that what comes after them on the page has something to work on.
"""

import re
import shlex
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from cryodrake.app.cli import COMMANDS, main, parse
from cryodrake.app.options import write_options
from cryodrake.io.cryodrgn import write_ctf, write_indices, write_poses
from cryodrake.io.particles import read_particles

DOCS = Path(__file__).parents[1] / "docs"
PAGES = sorted(path.name for path in DOCS.glob("*.md") if "```sh" in path.read_text(encoding="utf-8"))
N = 120
RECONSTRUCTIONS = ("abinit", "train", "backproject")
ONLY_READ = ("relion-external", "view", "demo")  # they wait, or take minutes


def commands_on(page):
    """The lines of the page's code blocks."""
    blocks = re.findall(r"^```sh\n(.*?)^```", (DOCS / page).read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    return [shlex.split(line) for block in blocks for line in block.splitlines()]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """What a user has: particles as .star, .cs, stack and cryoDRGN's files; and finished jobs, one of them with states."""
    folder = tmp_path_factory.mktemp("docs")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    data = folder / "data"
    simulate = ["simulate", "-o", data, "--n", N, "--box", 32, "--motion", "hinge", "--states", 3, "--snr", 1, "--shift-px", 0]
    assert main([*map(str, simulate)]) == 0
    user = folder / "user"
    user.mkdir()
    shutil.copy(data / "particles.mrcs", user)
    shutil.copy(data / "truth" / "particles.star", user)
    particles = read_particles(user / "particles.star")
    write_ctf(user / "ctf.pkl", particles.table)
    write_poses(user / "pose.pkl", particles.table)
    write_indices(user / "ind.pkl", np.arange(N))
    write_cs(user / "particles.cs", particles)
    states = folder / "states_star"
    assert main(["train", str(user / "particles.star"), "-o", str(states), "--zdim", "2"]) == 0
    leave_out = shutil.ignore_patterns("latents*", "states")
    shutil.copytree(states, folder / "rigid_star", ignore=leave_out)
    shutil.copytree(states, folder / "states_cs")
    read_particles(user / "particles.cs").write_cs(folder / "states_cs" / "particles.cs")
    torch.set_num_threads(threads)
    return folder


def write_cs(path, particles):
    table, ctf = particles.table, particles.table.ctf
    columns = {
        "uid": np.arange(N, dtype=np.uint64) + 1000,
        "blob/path": np.full(N, b"particles.mrcs"),
        "blob/idx": np.arange(N, dtype=np.uint32),
        "blob/shape": np.full((N, 2), 32, dtype=np.uint32),
        "blob/psize_A": table.pixel_size_A.astype(np.float32),
        "ctf/accel_kv": ctf.voltage_kV,
        "ctf/cs_mm": ctf.cs_mm,
        "ctf/amp_contrast": ctf.amplitude_contrast,
        "ctf/df1_A": ctf.defocus_u_A,
        "ctf/df2_A": ctf.defocus_v_A,
        "ctf/df_angle_rad": np.deg2rad(ctf.defocus_angle_deg),
        "ctf/phase_shift_rad": np.zeros(N),
        "alignments3D/pose": Rotation.from_matrix(table.rotations.transpose(0, 2, 1)).as_rotvec(),
        "alignments3D/shift": table.shifts_A / table.pixel_size_A[:, None],
        "alignments3D/psize_A": table.pixel_size_A,
    }
    kinds = [(name, v.dtype if v.dtype != np.float64 else np.float32, v.shape[1:]) for name, v in columns.items()]
    array = np.empty(N, dtype=kinds)
    for name, values in columns.items():
        array[name] = values
    with path.open("wb") as file:
        np.save(file, array)


@pytest.mark.parametrize("page", PAGES)
def test_every_command_of_the_page_is_understood(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    commands = commands_on(page)
    assert commands
    for program, name, *arguments in commands:
        assert program == "cryodrake"
        if "--config" not in arguments:  # whose file the page makes first
            parse(name, arguments)


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES)
def test_every_command_of_the_page_works(page, made, tmp_path, monkeypatch, capfd):
    here = tmp_path / "user"
    shutil.copytree(made / "user", here)
    monkeypatch.chdir(here)
    if not any(arguments[:1] == ["abinit"] and "job" in arguments for _, *arguments in commands_on(page)):
        shutil.copytree(made / "rigid_star", here / "job")  # of which the page speaks
    for program, name, *arguments in commands_on(page):
        line = shlex.join([name, *arguments])
        assert program == "cryodrake", line
        config = parse(name, arguments)
        if name in RECONSTRUCTIONS:
            assert config.particles.exists(), line
            kind = "rigid" if not getattr(config, "zdim", 0) else "states"
            source = made / f"{kind}_{'cs' if config.particles.suffix == '.cs' else 'star'}"
            shutil.copytree(source, config.out)
            (config.out / "job.toml").write_text(write_options(config, name))
        elif name not in ONLY_READ:
            monkeypatch.setitem(sys.modules, "umap", None)  # seconds to compile, and not what is tested
            assert main([name, *arguments]) == 0, (line, capfd.readouterr().err)


def test_every_command_is_on_some_page():
    text = "".join(path.read_text(encoding="utf-8") for path in DOCS.glob("*.md"))
    assert [name for name in COMMANDS if f"cryodrake {name}" not in text and f"`{name}" not in text] == []


def test_links_lead_somewhere():
    for page in DOCS.glob("*.md"):
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8")):
            assert (DOCS / target).exists(), f"{page.name}: {target}"
