"""job.toml: written, read back, and refused with the line that is wrong."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest

from cryodrake.app.options import changed_options, read_options, write_options
from cryodrake.errors import InputError
from cryodrake.io import toml
from cryodrake.training.config import AbinitConfig, BackprojectConfig


@dataclass(frozen=True)
class Every:
    """One field of every kind."""

    path: Path
    """Where."""
    paths: tuple[Path, ...] = ()
    pair: tuple[float, float] | None = None
    number: float = 1e-5
    text: str = 'a "quoted" \\ line\n# no comment é'
    kind: Literal["a", "b"] = "a"
    is_on: bool = True
    maybe: int | None = None


def read(tmp_path, text, config_class=AbinitConfig, command="abinit"):
    (tmp_path / "job.toml").write_text(text)
    return read_options(tmp_path / "job.toml", config_class, command)


def test_every_kind_of_value_comes_back(tmp_path):
    config = Every(Path("/data/a b.star"), (Path("/x"), Path("/y")), (1.0, 2.5), 1e-7, is_on=False, maybe=3)
    text = write_options(config, "every")
    assert read(tmp_path, text, Every, "every") == config
    assert toml.tomllib.loads(text)["options"]["text"] == config.text
    assert "# Where." in text


def test_unset_options_are_comments_and_stay_unset(tmp_path):
    config = AbinitConfig(particles=Path("/a.star"), out=Path("/job"))
    text = write_options(config, "abinit")
    assert "\n# box =  # Fourier crop" in text
    assert read(tmp_path, text) == config


def test_paths_are_absolute_and_actions_are_not_saved(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = write_options(AbinitConfig(particles=Path("a.star"), out=Path("job"), resume=True), "abinit")
    saved = toml.tomllib.loads(text)["options"]
    assert saved["particles"] == str(tmp_path / "a.star")
    assert "resume" not in saved


GOOD = 'command = "abinit"\n\n[options]\nparticles = "a.star"\nout = "job"\n'


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (GOOD + "dimeter_A = 200\n", ["job.toml, line 6", "unknown option 'dimeter_A'", "did you mean diameter_A"]),
        (GOOD + 'outt = "job"\n', ["unknown option 'outt'", "did you mean out?"]),
        (GOOD + "zzz = 1\n", ["line 6", "unknown option 'zzz'", "apix, box, classes, ctf"]),
        (GOOD + 'box = "64"\n', ["line 6", "box is '64'", "expected: a whole number"]),
        (GOOD + "box = true\n", ["line 6", "expected: a whole number"]),
        (GOOD + "apix = [1]\n", ["line 6", "expected: a number"]),
        (GOOD + 'device = "fast"\n', ["line 6", "one of auto, cpu, cuda"]),
        (GOOD + "box = 63\n", ["--box", "box is 63", "an even number"]),
        (GOOD + "apix = -1\n", ["--apix", "a positive number"]),
        (GOOD + "zdim = 99\n", ["--zdim", "expected: 0"]),
        (GOOD + "resume = true\n", ["line 6", "unknown option 'resume'"]),
        (GOOD + "box = \n", ["not valid TOML", "line 6"]),
        ("seed = 1\n" + GOOD, ["line 1", "unknown option 'seed'", "[options]"]),
        (GOOD.replace("abinit", "simulate"), ["for `cryodrake simulate`", "for `cryodrake abinit`"]),
        ('[options]\nout = "job"\n', ["no value for particles"]),
    ],
)
def test_what_is_wrong_is_named(tmp_path, text, says):
    with pytest.raises(InputError) as caught:
        read(tmp_path, text)
    message = str(caught.value)
    assert [part for part in says if part not in message] == []


def test_a_missing_file_is_bad_input(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        read_options(tmp_path / "none.toml", AbinitConfig, "abinit")


def test_only_options_that_make_another_job_count_as_changed(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    saved = BackprojectConfig(particles=tmp_path / "a.star", out=tmp_path / "job")
    assert changed_options(saved, BackprojectConfig(Path("a.star"), Path("job"), resume=True, max_minutes=1.0)) == []
    assert changed_options(saved, BackprojectConfig(Path("b.star"), Path("job"), seed=1)) == ["particles", "seed"]
