"""The demo's three commands fit together: what one writes is where the next looks for it."""

import json
import shutil
import sys
import types

import pytest

from cryodrake.analysis.evaluate import EvaluateConfig
from cryodrake.analysis.evaluate_result import EvaluationResult
from cryodrake.app import evaluate
from cryodrake.app.cli import main
from cryodrake.app.demo import free_folder


def know_the_truth(config, job, reporter):
    truth = config.particles.parent / "truth"
    shutil.copy(truth / "particles.star", job.path / "particles.star")
    shutil.copy(truth / "volumes" / "state_000.mrc", job.maps / "consensus.mrc")
    reporter.finish(True, "it converged")


@pytest.mark.parametrize(("zdim", "motion"), [(4, "hinge"), (0, "none")])
def test_the_demo_says_how_good_it_is_and_what_to_open(tmp_path, monkeypatch, capsys, zdim, motion):
    module, configs = types.ModuleType("cryodrake.training.abinit"), []
    module.run = lambda config, *rest: configs.append(config) or know_the_truth(config, *rest)
    monkeypatch.setitem(sys.modules, "cryodrake.training.abinit", module)
    # Where another test has loaded the real one, it is also an attribute of its package, which is looked at first.
    monkeypatch.setattr("cryodrake.training.abinit", module, raising=False)
    demo, result = tmp_path / "demo", EvaluationResult(n=40)
    asked = []
    monkeypatch.setattr("cryodrake.analysis.evaluate.evaluate", lambda config: asked.append(config) or result)
    options = [] if zdim else ["--zdim", "0"]  # states are what one sees first
    assert main(["demo", "-o", str(demo), "--n", "40", *options]) == 0
    said = capsys.readouterr().out
    assert result.summary() in said
    assert asked == [EvaluateConfig(job=demo / "job", truth=demo / "data")]
    for name in ("job/maps/consensus.mrc", "job/particles.star", "data/truth/volumes/state_000.mrc"):
        assert str(demo / name) in said
        assert (demo / name).exists()
    saved = (demo / "data" / "job.toml").read_text()
    assert 'command = "simulate"' in saved
    assert "\nn = 40 " in saved
    assert f'motion = "{motion}"' in saved
    assert [config.zdim for config in configs] == [zdim]


def test_the_demo_simulates_nothing_for_states_that_cannot_be(tmp_path, capsys):
    assert main(["demo", "-o", str(tmp_path / "demo"), "--zdim", "99"]) == 2
    assert "zdim is 99" in capsys.readouterr().err
    assert not (tmp_path / "demo").exists()


def test_evaluate_speaks_words_or_json(monkeypatch, capsys):
    result = EvaluationResult(
        n=3, rotation_error_mean_deg=0.6, rotation_error_median_deg=0.5, rotation_error_p90_deg=0.9, share_within_10_deg=1.0
    )
    monkeypatch.setattr(evaluate, "evaluate", lambda config: result)
    assert main(["evaluate", "job", "--truth", "data", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["rotation_error_median_deg"] == 0.5
    assert main(["evaluate", "job", "--truth", "data"]) == 0
    said = capsys.readouterr().out
    assert said == result.summary() + "\n"
    assert "0.50°" in said


def test_a_taken_folder_gets_a_number(tmp_path):
    assert free_folder(tmp_path / "demo") == tmp_path / "demo"
    (tmp_path / "demo").mkdir()
    assert free_folder(tmp_path / "demo") == tmp_path / "demo"
    (tmp_path / "demo" / "data").mkdir()
    (tmp_path / "demo-2").write_text("a file")
    assert free_folder(tmp_path / "demo") == tmp_path / "demo-3"
