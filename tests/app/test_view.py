"""`cryodrake view` as a command: what it needs, what it prints, how it ends."""

import os
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request

import pytest

from cryodrake.app.cli import main


@pytest.fixture
def job(tmp_path):
    (tmp_path / "job").mkdir()
    (tmp_path / "job" / "job.toml").write_text('command = "abinit"\n')
    return tmp_path / "job"


@pytest.mark.parametrize("missing", ["dash", "plotly"])
def test_without_its_libraries_it_says_how_to_install_them(job, monkeypatch, capsys, missing):
    pytest.importorskip("dash")
    monkeypatch.setitem(sys.modules, missing, None)
    assert main(["view", str(job)]) == 2
    said = capsys.readouterr().err
    assert f"{missing} is not installed" in said
    assert "pip install 'cryodrake[view]'" in said


def test_no_job_and_no_port_are_said(job, tmp_path, capsys):
    pytest.importorskip("dash")
    (tmp_path / "empty").mkdir()
    assert main(["view", str(tmp_path / "empty")]) == 2
    assert "no job is here" in capsys.readouterr().err
    assert main(["view", str(tmp_path / "absent")]) == 2
    assert "no such folder" in capsys.readouterr().err
    assert main(["view", str(job), "--port", "70000"]) == 2
    assert "1 to 65535" in capsys.readouterr().err


@pytest.fixture
def interruptible():
    """Children hear Ctrl-C even where the tests themselves were started with it ignored, as a shell's background jobs are."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_it_prints_a_link_that_opens_and_ctrl_c_ends_it(job, interruptible):
    pytest.importorskip("dash")
    command = [sys.executable, "-m", "cryodrake", "view", str(job), "--port", "8240"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"}) as process:
        try:
            assert process.stdout is not None
            link = process.stdout.readline().strip()
            tunnel = process.stdout.readline()
            assert re.fullmatch(r"http://127\.0\.0\.1:\d+/\?token=[\w-]{40,}", link)
            assert "ssh -L" in tunnel
            with urllib.request.build_opener(urllib.request.HTTPCookieProcessor()).open(link, timeout=20) as answer:
                assert answer.status == 200
                assert "cryodrake" in answer.read().decode()
            with pytest.raises(urllib.error.HTTPError, match="403"):
                urllib.request.urlopen(link[:-1], timeout=20)
            process.send_signal(signal.SIGINT)
            assert process.wait(20) == 0
        finally:
            process.kill()
