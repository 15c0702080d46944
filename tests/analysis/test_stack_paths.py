"""Where the stacks of a particle file are that was written to another place."""

from cryodrake.analysis.stack_paths import where_stacks_are


def test_only_paths_that_lead_nowhere_are_spoken_of(tmp_path):
    data = tmp_path / "project" / "data"
    data.mkdir(parents=True)
    (data / "a.mrcs").write_bytes(b"")
    source, names = tmp_path / "project" / "particles.star", ("data/a.mrcs",)
    for near in ("project/job/selections/x.star", "project/x.star", "project/data/x.star"):
        assert where_stacks_are(names, tmp_path / near, source) is None
    far = tmp_path / "elsewhere" / "x.star"
    words = f"relative to {tmp_path}/project: run from there, or give --datadir {tmp_path}/project"
    assert words in (where_stacks_are(names, far, source) or "")
    assert words in (where_stacks_are(names, far, tmp_path / "job" / "particles.star", source.parent) or "")
    assert words in (where_stacks_are(names, far, tmp_path / "job" / "particles.star", data) or "")
    assert f"--datadir {data}" in (where_stacks_are(("old/a.mrcs",), far, source, data) or "")
    assert f"--datadir {tmp_path}/gone" in (where_stacks_are(names, far, tmp_path / "gone" / "particles.star") or "")
    assert where_stacks_are((str(data / "a.mrcs"),), far, source) is None
    assert where_stacks_are(names, far.with_suffix(".txt"), source) is None
