"""Jobs and files by name only: nothing that leads out of a job is read or written."""

import numpy as np
import pytest

pytest.importorskip("dash")

from cryodrake.analysis.find_jobs import find_jobs
from cryodrake.errors import InputError
from cryodrake.io.mrc import write_map
from cryodrake.view.job_files import find_maps, inside, new_file, tail
from cryodrake.view.shelf import Shelf

MAP = np.zeros((4, 4, 4), np.float32)


def make_job(path):
    path.mkdir(parents=True)
    (path / "job.toml").write_text("")
    return path


def test_a_job_is_itself_and_a_folder_is_its_jobs(tmp_path):
    for name in ("b", "a", "group/c", "too/deep/down/here/d", ".hidden"):
        make_job(tmp_path / name)
    assert Shelf(tmp_path / "a").names() == ["a"]
    assert Shelf(tmp_path).names() == ["a", "b", "group/c"]


def test_jobs_within_jobs_and_behind_links_are_not_listed(tmp_path):
    make_job(tmp_path / "jobs" / "a")
    make_job(tmp_path / "jobs" / "a" / "inner")
    make_job(tmp_path / "elsewhere")
    (tmp_path / "jobs" / "link").symlink_to(tmp_path / "elsewhere")
    assert find_jobs(tmp_path / "jobs") == [tmp_path / "jobs" / "a"]


def test_a_jobs_classes_are_jobs_to_choose_after_it_but_not_those_behind_links(tmp_path):
    whole, other = make_job(tmp_path / "jobs" / "b"), make_job(tmp_path / "jobs" / "c")
    for name in ("class_02", "class_01"):
        make_job(whole / "classes" / name)
    (whole / "classes" / "class_03").mkdir()  # not begun
    (other / "classes").mkdir()
    (other / "classes" / "class_01").symlink_to(make_job(tmp_path / "secret"))
    assert Shelf(whole).names() == ["b", "classes/class_01", "classes/class_02"]
    shelf = Shelf(tmp_path / "jobs")
    assert shelf.names() == ["b", "b/classes/class_01", "b/classes/class_02", "c"]
    assert shelf.open("b/classes/class_02").path == whole / "classes" / "class_02"


@pytest.mark.parametrize("name", ["../secret", "/etc", "", ".", "a/../../secret", None, 3, ["a"]])
def test_a_job_that_is_not_on_the_list_is_refused(tmp_path, name):
    make_job(tmp_path / "jobs" / "a")
    make_job(tmp_path / "secret")
    with pytest.raises(InputError, match="no such job"):
        Shelf(tmp_path / "jobs").open(name)


def test_new_jobs_appear_and_removed_ones_go(tmp_path):
    make_job(tmp_path / "a")
    shelf = Shelf(tmp_path)
    make_job(tmp_path / "b")
    assert shelf.names() == ["a", "b"]
    (tmp_path / "a" / "job.toml").unlink()
    (tmp_path / "a").rmdir()
    assert shelf.names() == ["b"]


def test_no_folder_and_no_job_are_said(tmp_path):
    with pytest.raises(InputError, match="no such folder"):
        Shelf(tmp_path / "absent")
    with pytest.raises(InputError, match="no job is here"):
        Shelf(tmp_path)


def test_maps_are_found_and_those_behind_links_out_of_the_job_are_not(tmp_path):
    job = make_job(tmp_path / "job")
    for name in ("maps/consensus", "maps/states/state_00", "mine/vol_000"):
        (job / name).parent.mkdir(parents=True, exist_ok=True)
        write_map(job / f"{name}.mrc", MAP, 1.0)
    write_map(tmp_path / "secret.mrc", MAP, 1.0)
    (job / "maps" / "leak.mrc").symlink_to(tmp_path / "secret.mrc")
    assert list(find_maps(job)) == ["maps/consensus", "maps/states/state_00", "mine/vol_000"]
    reader = Shelf(job).open("job")
    assert reader.viewable("maps/consensus").volume.shape == (4, 4, 4)
    for name in ("maps/leak", "../secret", str(tmp_path / "secret"), None):
        with pytest.raises(InputError, match="no such map"):
            reader.viewable(name)


@pytest.mark.parametrize("name", ["../x.star", "a/b.star", "/tmp/x.star", ".hidden", "", "a\nb.star", "x" * 101, "..", "a\\b/../c"])
def test_a_name_that_is_more_than_a_name_is_not_written(tmp_path, name):
    job = make_job(tmp_path / "job")
    with pytest.raises(InputError, match="not a file name"):
        new_file(job, "selections", name)
    assert not (job / "selections").exists()


def test_why_a_name_is_none_is_said(tmp_path):
    with pytest.raises(InputError, match=r"'\.x\.star' is not a file name: it would be hidden"):
        new_file(tmp_path, "selections", ".x.star")


def test_a_selections_folder_that_leads_elsewhere_is_not_written_to(tmp_path):
    job = make_job(tmp_path / "job")
    (tmp_path / "elsewhere").mkdir()
    (job / "selections").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InputError, match="leads out"):
        new_file(job, "selections", "x.star")
    with pytest.raises(InputError, match="leads out"):
        inside(job, job / ".." / "elsewhere")


def test_plain_names_are_files_of_the_job(tmp_path):
    job = make_job(tmp_path / "job")
    assert new_file(job, "selections", "open state_2.star") == job / "selections" / "open state_2.star"


def test_the_tail_of_a_long_log_is_whole_lines(tmp_path):
    (tmp_path / "log.txt").write_text("".join(f"line {i}\n" for i in range(10_000)))
    assert tail(tmp_path / "log.txt", 3) == "line 9997\nline 9998\nline 9999"
    assert tail(tmp_path / "log.txt", 10_000, most_bytes=25) == "line 9998\nline 9999"
    assert tail(tmp_path / "absent.txt", 3) == ""
