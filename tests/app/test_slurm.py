"""Batch scripts: filled, checked before they are queued, and handed to sbatch (here one that only notes what it was given)."""

import shlex
import subprocess
import sys

import pytest

from cryodrake.app.cli import main
from cryodrake.app.slurm_template import DEFAULT, fill
from cryodrake.errors import InputError


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    return tmp_path


def with_sbatch(here, monkeypatch, body):
    (here / "bin").mkdir()
    (here / "bin" / "sbatch").write_text(f"#!/bin/sh\n{body}\n")
    (here / "bin" / "sbatch").chmod(0o755)
    monkeypatch.setenv("PATH", f"{here}/bin:/usr/bin:/bin")


ABINIT = ["abinit", "my particles.star", "-o", "job 1", "--zdim", "4"]


def test_the_script_says_what_was_asked(here):
    options = ["--partition", "gpu", "--gpus", "1", "--hours", "1.5", "--cpus", "8", "--memory-gib", "20", "--write-only"]
    assert main(["slurm", *options, *ABINIT]) == 0
    lines = (here / "job 1.slurm").read_text().splitlines()
    wanted = ["--partition=gpu", "--gres=gpu:1", "--time=1:30:00", "--cpus-per-task=8", "--mem=20480M", f"--chdir={here}"]
    assert [option for option in wanted if f"#SBATCH {option}" not in lines] == []
    assert not any("account" in line for line in lines)
    assert lines[0] == "#!/bin/bash"
    assert shlex.split(lines[-1]) == ["exec", sys.executable, "-m", "cryodrake", *ABINIT]
    assert subprocess.run(["bash", "-n", "job 1.slurm"], check=False).returncode == 0
    (log,) = [line for line in lines if line.startswith("#SBATCH --output=")]
    assert shlex.split(log, comments=False)[1:] == [f"--output={here}/job 1.log"]  # sbatch splits at blanks that are not quoted


def test_no_cards_and_no_partition_leave_no_line(here):
    assert main(["slurm", "--write-only", "--script", "a.sh", *ABINIT]) == 0
    text = (here / "a.sh").read_text()
    assert "--gres" not in text
    assert "--partition" not in text
    assert "{{" not in text


def test_a_job_that_is_resumed_has_its_script_anew_but_no_file_of_ones_own_is_lost(here):
    assert main(["slurm", "--write-only", "abinit", "a.star", "--out=job"]) == 0
    assert main(["slurm", "--write-only", "--hours", "2", "abinit", "a.star", "--out=job"]) == 0
    assert "#SBATCH --time=2:00:00" in (here / "job.slurm").read_text()
    (here / "mine.sh").write_text("precious")
    assert main(["slurm", "--write-only", "--script", "mine.sh", *ABINIT]) == 2
    assert (here / "mine.sh").read_text() == "precious"


def test_sbatch_gets_the_script_and_its_answer_is_shown(here, monkeypatch, capsys):
    with_sbatch(here, monkeypatch, 'echo "$@" > given; echo Submitted batch job 42')
    assert main(["slurm", *ABINIT]) == 0
    assert (here / "given").read_text() == "job 1.slurm\n"
    assert "Submitted batch job 42" in capsys.readouterr().out


def test_what_goes_wrong_is_said(here, monkeypatch, capsys):
    monkeypatch.setenv("PATH", str(here))  # also where SLURM is installed
    assert main(["slurm", *ABINIT]) == 2
    assert "no sbatch" in capsys.readouterr().err
    with_sbatch(here, monkeypatch, 'echo "invalid partition specified" >&2; exit 1')
    assert main(["slurm", "--partition", "none", *ABINIT]) == 2
    assert "invalid partition" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["abinit", "a.star"], "--out"),  # the command's own arguments are checked before they wait in a queue
        (["abinit", "a.star", "-o", "job", "--zdim", "99"], "--zdim"),
        (["--hours", "2"], "there is no command"),
        (["relion-external", "--o", "a"], "no command 'relion-external'"),
        (["--write-only", "--hours", "2", "abinti", "x"], "cryodrake slurm: no command 'abinti'\n  expected: one of abinit"),
        (["nosuch", "x"], "no command 'nosuch'"),
        (["--partition", "a;rm -rf /", *ABINIT], "--partition"),
        (["--hours", "0", *ABINIT], "--hours"),
        (["--template", "none.sh", *ABINIT], "none.sh"),
    ],
)
def test_bad_input_writes_nothing(here, capsys, arguments, says):
    assert main(["slurm", "--write-only", *arguments]) == 2
    assert says in capsys.readouterr().err
    assert list(here.iterdir()) == []


def test_a_partition_may_be_called_like_a_command(here):
    assert main(["slurm", "--partition", "train", "--write-only", "--script", "a.sh", *ABINIT]) == 0
    assert "#SBATCH --partition=train" in (here / "a.sh").read_text()


def test_a_template_of_ones_own(here, capsys):
    (here / "mine.sh").write_text("#!/bin/sh\n#SBATCH -A {{account}}\nmodule load cuda\n{{ command }} | tee {{log}}\n")
    assert (
        main(["slurm", "--template", "mine.sh", "--write-only", "--script", "a.sh", "evaluate", "job", "--truth", "$HOME/x"]) == 0
    )
    lines = (here / "a.sh").read_text().splitlines()
    assert lines[:2] == ["#!/bin/sh", "module load cuda"]
    assert "evaluate job --truth '$HOME/x' | tee " in lines[2]
    for text, says in (("{{command}} {{queue}}", "{{queue}}"), ("echo", "no place for the command")):
        (here / "mine.sh").write_text(text)
        assert main(["slurm", "--template", "mine.sh", "--write-only", "--script", "b.sh", *ABINIT]) == 2
        assert says in capsys.readouterr().err


def test_values_are_put_in_as_they_are():
    assert fill("{{command}}\n", {"command": r"a \1 {{name}}"}) == "a \\1 {{name}}\n"
    with pytest.raises(InputError, match="placeholder"):
        fill(DEFAULT, {"command": "a"})
