"""The command as users and schedulers see it: exit codes, messages, signals, and what is left behind."""

import json
import signal
import subprocess
import sys
import time
import types
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

from cryodrake.app.cli import COMMANDS, main, parse
from cryodrake.app.options import write_options
from cryodrake.errors import InputError, JobStopped
from cryodrake.io.mrc import write_map


def count(config, job, reporter):
    """Stands in for the reconstruction: sums 0 … 49, a checkpoint each, and knows every way to end."""
    warnings.showwarning("a library grumbles", UserWarning, "library.py", 1)
    if config.seed == 1:
        raise InputError("NaN image", where="a.mrcs, image 3", do="leave it out")
    if config.seed == 2:
        raise RuntimeError("we divided by zero")
    if config.seed == 5:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
    latest = job.load_latest()
    total, first = (int(latest[1]["total"]), latest[2]["next"]) if latest else (0, 0)
    reporter.phase("count", 50, "counting")
    for i in range(first, 50):
        if reporter.should_stop():
            raise JobStopped
        total += i
        job.save_checkpoint("count", {"total": torch.tensor(total)}, {"next": i + 1})
        reporter.step(i + 1, particles=10)
        time.sleep(0.02 if config.seed == 3 else 0)
    if config.seed == 4:
        reporter.stage("ball", np.ones((16, 16, 16), dtype=np.float32), 4.0, 20.0)
        (job.maps / "fsc.csv").write_text("a table that nobody can plot\n")
        (job.maps / "consensus.mrc").write_bytes(b"no map")
        (job.maps / "states").mkdir()
        write_map(job.maps / "states" / "state_00.mrc", np.eye(16, dtype=np.float32) + np.zeros((16, 16, 16), np.float32), 4.0)
    (job.maps / "total.txt").write_text(str(total))
    reporter.finish(True, "it converged")


TOTAL = str(sum(range(50)))


def stand_in():
    module = types.ModuleType("cryodrake.training.classes")
    module.run = lambda config, job, reporter, open_part: count(config, job, reporter)
    return module


@pytest.fixture
def run_main(capsys, monkeypatch):
    """The command in this process, with the stand-in: its exit code, and what it said."""
    monkeypatch.setitem(sys.modules, "cryodrake.training.classes", stand_in())
    monkeypatch.delitem(sys.modules, "cryodrake.app.abinit", raising=False)

    def run(*arguments):
        code = main([str(a) for a in arguments])
        return code, *capsys.readouterr()

    return run


def start(*arguments, before="pass"):
    """The same in a process of its own."""
    script = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); import test_cli; {before}\n"
    script += "sys.modules['cryodrake.training.classes'] = test_cli.stand_in()\n"
    script += "from cryodrake.app.cli import entry; entry()"
    command = [sys.executable, "-c", script, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def stop(process, job, number):
    """Sends a signal once there is a new checkpoint, and returns the exit code and stderr."""
    known = set(job.glob("checkpoints/0*"))
    while not set(job.glob("checkpoints/0*")) - known:
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    process.send_signal(number)
    _, said = process.communicate(timeout=120)
    return process.returncode, said


def status(job):
    return json.loads((job / "status.json").read_text())


def test_a_job_runs_once_and_is_not_run_over(tmp_path, run_main):
    job = tmp_path / "job"
    code, _, err = run_main("abinit", "a.star", "-o", job)
    assert (code, status(job)["state"]) == (0, "finished")
    assert "counting" in err
    assert "it converged" in err
    assert "grumbles" not in err
    assert "grumbles" in (job / "log.txt").read_text()
    assert max(map(len, err.splitlines())) < 120
    code, _, err = run_main("abinit", "b.star", "-o", job)
    assert code == 2
    assert "finished job" in err
    assert "a.star" in (job / "job.toml").read_text()


def test_figures_are_drawn_and_a_fault_in_one_costs_no_run(tmp_path, run_main):
    job = tmp_path / "job"
    code, _, err = run_main("abinit", "a.star", "-o", job, "--seed", 4)
    assert (code, status(job)["state"]) == (0, "finished")
    assert (job / "figures" / "progress.png").exists()
    assert "some figures could not be drawn" in err
    warned = status(job)["warnings"]
    assert len(warned) == 2
    assert all("some figures could not be drawn" in text for text in warned)
    assert "consensus.mrc" in warned[1]  # a damaged map is no reason either
    assert (job / "maps" / "states" / "state_00.png").exists()
    assert "Traceback" in (job / "log.txt").read_text()


def test_a_job_is_run_again_from_its_own_file(tmp_path, run_main):
    run_main("abinit", "a.star", "-o", tmp_path / "job", "--box", 64)
    code, _, err = run_main("abinit", "--config", tmp_path / "job" / "job.toml", "-o", tmp_path / "again")
    assert code == 0, err
    files = [(tmp_path / name / "job.toml").read_text() for name in ("job", "again")]
    assert files[1].replace(str(tmp_path / "again"), str(tmp_path / "job")) == files[0]


def test_bad_input_is_one_message_and_two(tmp_path, run_main):
    code, _, err = run_main("abinit", "a.star", "-o", tmp_path / "job", "--seed", 1)
    assert code == 2
    assert err == "error: a.mrcs, image 3: NaN image\n  do: leave it out\n"
    assert status(tmp_path / "job")["state"] == "failed"
    code, _, err = run_main("abinit", "a.star", "-o", tmp_path / "job")  # corrected: no need to clear up
    assert (code, status(tmp_path / "job")["state"]) == (0, "finished")


def test_a_fault_of_ours_is_short_and_its_traceback_in_the_log(tmp_path, run_main):
    code, _, err = run_main("abinit", "a.star", "-o", tmp_path / "job", "--seed", 2)
    assert code == 1
    assert "our fault" in err
    assert "we divided by zero" in err
    assert "Traceback" not in err
    assert "Traceback" in (tmp_path / "job" / "log.txt").read_text()
    assert status(tmp_path / "job")["state"] == "failed"


def test_the_time_limit_stops_a_job(tmp_path, run_main):
    code, _, err = run_main("abinit", "a.star", "-o", tmp_path / "job", "--max-minutes", 1e-6)
    assert code == 130
    assert "--max-minutes" in err
    assert status(tmp_path / "job")["state"] == "stopped"


def test_stopped_and_killed_a_job_resumes_to_the_same_result(tmp_path, run_main):
    job = tmp_path / "job"
    code, err = stop(start("abinit", "a.star", "-o", job, "--seed", 3), job, signal.SIGINT)
    assert code == 130, err
    assert f"cryodrake abinit -o {job} --resume" in err
    assert status(job)["state"] == "stopped"
    code, _, err = run_main("abinit", "a.star", "-o", job)
    assert code == 2
    assert "--resume" in err
    code, err = stop(start("abinit", "-o", job, "--resume"), job, signal.SIGTERM)
    assert (code, status(job)["state"]) == (130, "stopped"), err
    code, err = stop(start("abinit", "-o", job, "--resume"), job, signal.SIGKILL)
    assert (code, status(job)["state"]) == (-signal.SIGKILL, "running"), err
    code, _, err = run_main("abinit", "-o", job, "--resume")
    assert (code, status(job)["state"]) == (0, "finished"), err
    assert (job / "maps" / "total.txt").read_text() == TOTAL


def test_a_full_disk_is_the_users_to_clear(tmp_path, run_main):
    """A limit on the size of files stands for a full disk: a write fails in the same place."""
    limit = "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); sys.dont_write_bytecode = True; "
    limit += "resource.setrlimit(resource.RLIMIT_FSIZE, (600, 600))"
    process = start("abinit", "a.star", "-o", tmp_path / "job", before=limit)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 2, err
    assert "the disk is full" in err
    assert "Traceback" not in err


def test_a_full_card_is_the_users_to_clear(tmp_path, run_main):
    code, _, err = run_main("abinit", "a.star", "-o", tmp_path / "job", "--seed", 5)
    assert code == 2
    assert "the graphics card has no memory left" in err
    assert "--device cpu" in err
    assert "Traceback" not in err


@pytest.mark.parametrize("arguments", [(), ("--help",)])
def test_help_lists_every_command(run_main, arguments):
    code, out, _ = run_main(*arguments)
    assert code == 0
    assert all(f"cryodrake {name} " in out for name in COMMANDS)


def test_help_of_a_command_lists_its_options_and_loads_no_torch():
    script = "import sys; from cryodrake.app.cli import main; code = main(['abinit', '--help']); assert code == 0"
    script += "; assert not {'torch', 'scipy', 'pandas', 'matplotlib'} & set(sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for option in ("PATH", "-o", "--ctf", "--datadir", "--ind", "--apix", "--box", "--seed", "--device"):
        assert option in done.stdout


@pytest.mark.parametrize(
    "arguments", [("reconstruct",), ("abinit",), ("abinit", "a.star"), ("abinit", "a.star", "-o", "job", "--bxo", "64")]
)
def test_a_wrong_command_line_is_two(run_main, monkeypatch, tmp_path, arguments):
    monkeypatch.chdir(tmp_path)
    code, _, err = run_main(*arguments)
    assert code == 2
    assert err
    assert "Traceback" not in err
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_value_or_file_is_two_and_makes_nothing(run_main, tmp_path):
    (tmp_path / "job.toml").write_text("[options]\nbx = 64\n")
    code, _, err = run_main("abinit", "--config", tmp_path / "job.toml", "-o", tmp_path / "job")
    assert code == 2
    assert f"{tmp_path}/job.toml, line 2: unknown option 'bx'" in err
    assert "box" in err
    code, _, err = run_main("abinit", "a.star", "-o", tmp_path / "job", "--box", "63")
    assert code == 2
    assert "--box" in err
    assert not (tmp_path / "job").exists()


def test_arguments_go_over_the_file(tmp_path):
    (tmp_path / "my.toml").write_text('[options]\nparticles = "/a.star"\nout = "/job"\nbox = 64\nseed = 3\n')
    config = parse("abinit", ["--config", str(tmp_path / "my.toml"), "--seed", "4", "-o", str(tmp_path)])
    assert (config.particles.name, config.box, config.seed, config.out) == ("a.star", 64, 4, tmp_path)


def test_options_of_a_motion_are_read_as_they_are_typed(tmp_path):
    hinge = [
        "--motion",
        "hinge",
        "--from-deg",
        "-40",
        "--to-deg",
        "10",
        "--states",
        "3",
        "--moving",
        "A,B",
        "--shares",
        "3",
        "0",
        "1",
    ]
    config = parse("simulate", ["-o", str(tmp_path), *hinge])
    assert (config.from_deg, config.to_deg, config.states, config.moving, config.shares) == (-40, 10, 3, ("A,B",), (3, 0, 1))
    config = parse("simulate", ["-o", str(tmp_path), "--motion", "composition", "--subsets", "full=*", "no A=-A,B?"])
    assert config.subsets == ("full=*", "no A=-A,B?")
    (tmp_path / "job.toml").write_text(write_options(config, "simulate"))
    assert parse("simulate", ["--config", str(tmp_path / "job.toml")]) == config


def test_resume_takes_the_jobs_own_options_and_no_others(tmp_path):
    (tmp_path / "job.toml").write_text(f'[options]\nparticles = "/a.star"\nout = "{tmp_path}"\nseed = 3\n')
    config = parse("abinit", ["-o", str(tmp_path), "--resume", "--max-minutes", "5"])
    assert (config.seed, config.resume, config.max_minutes) == (3, True, 5.0)
    with pytest.raises(InputError, match="seed cannot change"):
        parse("abinit", ["-o", str(tmp_path), "--resume", "--seed", "4"])
    with pytest.raises(InputError, match="does not go with --resume"):
        parse("abinit", ["-o", str(tmp_path), "--resume", "--config", str(tmp_path / "job.toml")])


def test_a_deposition_is_an_export_too(capsys):
    assert main(["export", "emdb", "--help"]) == 0
    assert "deposition" in capsys.readouterr().out


def test_a_command_that_is_none_is_answered_with_the_nearest(run_main):
    code, _, err = run_main("exprot", "job")
    assert code == 2
    assert err.startswith("error: no command 'exprot'\n  expected: one of abinit, ")
    assert err.endswith("do: did you mean export?\n")
    assert "`cryodrake --help`" in run_main("xyzzy")[2]


def test_help_calls_a_command_as_the_user_did(run_main):
    assert "usage: cryodrake export emdb" in run_main("export", "emdb", "--help")[1]
    assert "usage: cryodrake emdb" in run_main("emdb", "--help")[1]
