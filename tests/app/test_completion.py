"""Completion as the shells themselves do it: bash always, zsh's syntax and fish where they are installed."""

import io
import re
import shutil
import subprocess
from contextlib import redirect_stdout

import pytest

from cryodrake.app.cli import COMMANDS, main
from cryodrake.app.completion_words import all_commands


@pytest.fixture(scope="module")
def scripts(tmp_path_factory):
    folder = tmp_path_factory.mktemp("completion")
    for shell in ("bash", "zsh", "fish"):
        with redirect_stdout(io.StringIO()) as printed:
            assert main(["completion", shell]) == 0
        (folder / shell).write_text(printed.getvalue())
    return folder


def in_bash(scripts, *words):
    """What bash offers where the cursor stands after the last of these words."""
    program = 'source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _cryodrake cryodrake "${@: -1}" "${@: -2:1}"; '
    program += 'printf "%s\\n" "${COMPREPLY[@]}"'
    command = ["bash", "-c", program, "bash", str(scripts / "bash"), "cryodrake", *words]
    return set(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split())


def test_commands_options_and_choices(scripts):
    assert in_bash(scripts, "") == {*COMMANDS, "--help", "--version"}
    assert in_bash(scripts, "ab") == {"abinit"}
    assert in_bash(scripts, "abinit", "--z") == {"--zdim"}
    assert in_bash(scripts, "abinit", "--device", "") == {"auto", "cpu", "cuda"}
    assert in_bash(scripts, "abinit", "--device", "cu") == {"cuda"}
    assert in_bash(scripts, "simulate", "--motion", "h") == {"hinge"}
    assert in_bash(scripts, "completion", "") == {"bash", "zsh", "fish"}
    assert {"-o", "--out"} <= in_bash(scripts, "export", "-")


def test_a_carried_command_is_completed_as_itself(scripts):
    assert in_bash(scripts, "slurm", "--part") == {"--partition"}
    assert in_bash(scripts, "slurm", "--gpus", "1", "abi") == {"abinit"}
    assert in_bash(scripts, "slurm", "--gpus", "1", "abinit", "--preset", "") == {"default", "cryodrgn2"}
    assert in_bash(scripts, "relion-external", "tr") == {"train"}


def test_files_are_offered_where_files_are_taken(scripts, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "particles.star").touch()
    assert in_bash(scripts, "abinit", "par") == {"particles.star"}
    assert in_bash(scripts, "abinit", "--ctf", "par") == {"particles.star"}


def test_every_option_that_help_shows_is_there(capsys):
    for command in all_commands():
        if command.name in ("relion-external",):
            continue
        assert main([command.name, "--help"]) == 0
        shown = capsys.readouterr().out
        assert [flag for option in command.options for flag in option.flags if flag not in shown] == []
        listed = re.findall(r"^[│ ]{1,4}(?:-\w [^,]*, )?(--\w[\w-]*)", shown, re.MULTILINE)
        assert set(listed) <= {flag for option in command.options for flag in option.flags}


@pytest.mark.skipif(shutil.which("zsh") is None, reason="zsh is not installed")
def test_zsh_reads_the_script(scripts):
    assert subprocess.run(["zsh", "-n", str(scripts / "zsh")], check=False).returncode == 0


@pytest.mark.skipif(shutil.which("fish") is None, reason="fish is not installed")
def test_fish_completes(scripts):
    program = f"source {scripts / 'fish'}; complete -C 'cryodrake abinit --zd'"
    done = subprocess.run(["fish", "--no-config", "-c", program], check=True, capture_output=True, text=True)
    assert done.stdout.startswith("--zdim\t")
