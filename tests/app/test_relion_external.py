"""A run as RELION calls it: the arguments, the exit files, the wish to abort, and the nodes; and RELION's own pipeliner."""

import shutil
import subprocess
import sys
import time
import types
from pathlib import Path

import numpy as np
import pytest
import torch

from cryodrake.app.cli import main
from cryodrake.app.relion_external import parse
from cryodrake.errors import InputError, JobStopped
from cryodrake.io.mrc import write_map
from cryodrake.io.relion_job import ABORT_FILE
from cryodrake.io.star import read_star


def work(config, job, reporter):
    """Stands in for the reconstruction: seed 1 is bad input, 2 a fault of ours, 3 waits to be stopped, others finish."""
    if config.seed == 1:
        raise InputError("NaN image")
    if config.seed == 2:
        raise RuntimeError("we divided by zero")
    latest = job.load_latest()
    for _ in range(1000 if config.seed == 3 and latest is None else 1):
        if reporter.should_stop():
            job.save_checkpoint("wait", {"a": torch.zeros(1)}, {})
            raise JobStopped
        time.sleep(0.02)
    star = "data_\n\nloop_\n_rlnImageName #1\n_rlnDetectorPixelSize #2\n_rlnMagnification #3\n1@a.mrcs 1 10000\n"
    (job.path / "particles.star").write_text(star)
    write_map(job.maps / "consensus.mrc", np.random.default_rng(0).normal(size=(16, 16, 16)).astype(np.float32), 2.0)
    (job.maps / "total.txt").write_text(f"{config.zdim} {torch.get_num_threads()}")
    reporter.finish(True, "it converged")


def stand_in():
    module = types.ModuleType("cryodrake.training.classes")
    module.run = lambda config, job, reporter, open_part: work(config, job, reporter)
    return module


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project's folder with an External job that RELION has begun, so that it is not empty."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "cryodrake.training.classes", stand_in())
    monkeypatch.setattr("cryodrake.app.runner.draw", lambda job, reporter: None)
    folder = tmp_path / "External" / "job001"
    folder.mkdir(parents=True)
    (folder / "run.out").write_text("")
    return folder


def call(*options):
    threads = torch.get_num_threads()
    try:
        return main(["relion-external", "--o", "External/job001/", "--in_parts", "a.star", *options, "--j", "1"])
    finally:
        torch.set_num_threads(threads)


def marks(folder):
    return {path.name for path in folder.glob("RELION_JOB_*")}


def test_success_leaves_the_mark_and_the_nodes_of_all_versions(project):
    assert call("--zdim", "3") == 0
    assert marks(project) == {"RELION_JOB_EXIT_SUCCESS"}
    assert (project / "cryodrake" / "maps" / "total.txt").read_text() == "3 1"
    nodes = read_star(project / "RELION_OUTPUT_NODES.star").table("output_nodes")
    assert nodes.columns.tolist() == ["rlnPipeLineNodeName", "rlnPipeLineNodeType", "rlnPipeLineNodeTypeLabel"]
    assert nodes.to_numpy().tolist() == [
        ["External/job001/cryodrake/particles.star", "3", "ParticleGroupMetadata.star.relion"],
        ["External/job001/cryodrake/maps/consensus.mrc", "6", "DensityMap.mrc"],
    ]


@pytest.mark.parametrize(("options", "code"), [(("--seed", "1"), 2), (("--seed", "2"), 1), (("--sed", "1"), 2)])
def test_failure_leaves_its_mark_alone(project, options, code, capsys):
    (project / "RELION_JOB_EXIT_SUCCESS").write_text("of an earlier run")
    assert call(*options) == code
    assert marks(project) == {"RELION_JOB_EXIT_FAILURE"}
    assert not (project / "RELION_OUTPUT_NODES.star").exists()
    assert call() == 0  # mended, and run again in the same folder
    assert marks(project) == {"RELION_JOB_EXIT_SUCCESS"}


def test_it_is_no_success_before_relion_can_find_its_files(project):
    (project / "RELION_OUTPUT_NODES.star").mkdir()  # stands in the way, as a full disk would
    assert call() == 1
    assert marks(project) == {"RELION_JOB_EXIT_FAILURE"}
    (project / "RELION_OUTPUT_NODES.star").rmdir()
    assert call() == 0
    assert marks(project) == {"RELION_JOB_EXIT_SUCCESS"}


def test_a_finished_job_that_is_continued_stays_so(project):
    assert call() == 0
    made = (project / "cryodrake" / "maps" / "total.txt").stat().st_mtime_ns
    assert call() == 0
    assert marks(project) == {"RELION_JOB_EXIT_SUCCESS"}
    assert (project / "cryodrake" / "maps" / "total.txt").stat().st_mtime_ns == made


def test_the_abort_file_stops_it_and_it_goes_on_from_there(project):
    script = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); import test_relion_external as t\n"
    script += "sys.modules['cryodrake.training.classes'] = t.stand_in(); from cryodrake.app.cli import entry; entry()"
    arguments = ["relion-external", "--o", "External/job001/", "--in_parts", "a.star", "--seed", "3"]
    process = subprocess.Popen([sys.executable, "-c", script, *arguments], stderr=subprocess.PIPE, text=True)
    while not (project / "cryodrake" / "status.json").exists():
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    time.sleep(0.5)
    (project / ABORT_FILE).touch()
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert marks(project) == {"RELION_JOB_EXIT_ABORTED"}
    assert call() == 0
    assert marks(project) == {"RELION_JOB_EXIT_SUCCESS"}


def test_relions_arguments_are_read_and_the_rest_goes_on():
    given = ["train", "--o", "External/job001/", "--in_parts", "p.star", "--zdim", "4", "--refine", "--j", "8"]
    config = parse([*given, "--pipeline_control", "External/job001/"])
    assert (config.command, str(config.particles), config.threads) == ("train", "p.star", 8)
    assert config.options == ("--zdim", "4", "--refine")
    assert parse(given[1:]).command == "abinit"


@pytest.mark.parametrize("option", ["--in_movies", "--in_mics", "--in_coords", "--in_3dref", "--in_mask"])
def test_inputs_that_nothing_reads_are_refused(option, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="does not take"):
        parse(["--o", "a", "--in_parts", "p.star", option, "x"])


def test_what_is_missing_is_said(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["relion-external", "--o", "a"]) == 2
    assert "--in_parts" in capsys.readouterr().err
    assert main(["relion-external", "--o", "a", "--in_parts", "b", "--j", "0"]) == 2


JOB_STAR = """
# version 30001

data_job

_rlnJobType                            99
_rlnJobIsContinue                       0


# version 30001

data_joboptions_values

loop_
_rlnJobOptionVariable #1
_rlnJobOptionValue #2
"""


@pytest.mark.skipif(shutil.which("relion_pipeliner") is None, reason="RELION is not installed")
def test_relions_pipeliner_runs_it_and_takes_its_nodes(project, tmp_path):
    shutil.rmtree(tmp_path / "External")
    program = tmp_path / "program.py"
    program.write_text(
        f"#!{sys.executable}\nimport sys; sys.path[:0] = {[str(Path(__file__).parent), *sys.path]!r}\n"
        "import test_relion_external as t; sys.modules['cryodrake.training.classes'] = t.stand_in()\n"
        "from cryodrake.app.cli import entry; entry()\n"
    )
    program.chmod(0o755)
    (tmp_path / "a.star").write_text("data_\n\nloop_\n_rlnImageName #1\n1@a.mrcs\n")
    values = {
        "do_queue": "No", "fn_exe": f'"{program} relion-external"', "in_part": "a.star", "min_dedicated": "1", "nr_threads": "1",
        "param1_label": "zdim", "param1_value": "2", "param2_label": "seed", "param2_value": "7",
        "qsub": "qsub", "qsubscript": "none", "queuename": "none", "other_args": '""',
    }  # fmt: skip
    values |= {name: '""' for name in ("in_3dref", "in_coords", "in_mask", "in_mic", "in_mov")}
    values |= {f"param{i}_{part}": '""' for i in range(3, 11) for part in ("label", "value")}
    (tmp_path / "job.star").write_text(JOB_STAR + "".join(f"{name} {value}\n" for name, value in values.items()) + "\n")
    (tmp_path / "default_pipeline.star").write_text("\ndata_pipeline_general\n\n_rlnPipeLineJobCounter 1\n")
    subprocess.run(["relion_pipeliner", "--addJobFromStar", "job.star"], check=True, capture_output=True)
    run = ["relion_pipeliner", "--RunJobs", "External/job001/", "--schedule", "test", "--sec_wait_after", "0"]
    subprocess.run(run, check=True, capture_output=True, timeout=120)
    assert marks(project) == {"RELION_JOB_EXIT_SUCCESS"}, (project / "run.err").read_text()
    assert (project / "cryodrake" / "maps" / "total.txt").read_text() == "2 1"
    nodes = read_star(tmp_path / "default_pipeline.star").table("pipeline_nodes").set_index("rlnPipeLineNodeName")
    assert nodes["rlnPipeLineNodeType"]["External/job001/cryodrake/particles.star"] == "3"
    assert nodes["rlnPipeLineNodeType"]["External/job001/cryodrake/maps/consensus.mrc"] == "6"


@pytest.mark.parametrize(
    "arguments",
    [["--o", "J"], ["--in_parts", "a.star", "--o=J", "--j", "two"], ["train", "--o", "J", "--in_parts", "a.star", "--j", "0"],
     ["--o", "J", "--in_parts", "a.star", "--in_movies", "m.star"], ["--o", "no", "--pipeline_control", "J/", "--in_parts"]],
)  # fmt: skip
def test_arguments_that_cannot_be_used_leave_a_mark_too(arguments, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["relion-external", *arguments]) == 2
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["RELION_JOB_EXIT_FAILURE"]
    assert (tmp_path / "J" / "RELION_JOB_EXIT_FAILURE").exists()


def test_help_and_arguments_without_a_folder_leave_no_mark(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["relion-external", "--o", "J", "--help"]) == 0
    assert main(["relion-external", "--in_parts", "a.star"]) == 2
    assert main(["relion-external", "--o", "--in_parts", "a.star"]) == 2
    assert not list(tmp_path.iterdir())
