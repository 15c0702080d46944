"""When a refinement searches all again, and when it ends."""

from cryodrake.training.settling import MOST_PASSES, is_settled, wants_all_searched

N = 1000


def pass_(whole=False, images=N, resolution_A=10.0, radius=20.0, moved=0.0, change_deg=0.1):
    return {
        "whole": whole, "images": images, "resolution_A": resolution_A, "radius": radius, "moved_share": moved,
        "median_pose_change_deg": change_deg, "sigma_deg": 1.0,
    }  # fmt: skip


def test_all_are_searched_first_and_when_nothing_else_helps():
    assert wants_all_searched([], N)
    assert not wants_all_searched([pass_(True)], N)
    better = [pass_(True, resolution_A=20.0), pass_(resolution_A=15.0)]
    assert not wants_all_searched(better, N)
    assert wants_all_searched([*better, pass_(resolution_A=15.0)], N)


def test_a_search_of_all_in_vain_ends_it():
    history = [pass_(True, resolution_A=20.0), pass_(), pass_(), pass_(True, moved=0.01)]
    assert not wants_all_searched(history, N)
    assert is_settled(history, N)
    assert not is_settled(history[:-1], N)
    found_elsewhere = [*history[:-1], pass_(True, moved=0.05)]
    assert not is_settled(found_elsewhere, N)
    assert not is_settled([*history[:-1], pass_(True, moved=0.01, change_deg=0.5)], N)


def test_images_that_always_move_do_not_keep_it_going():
    history = [pass_(True), pass_(), pass_(), pass_(True, moved=0.06), pass_(), pass_(True, moved=0.05)]
    assert is_settled(history, N)
    assert not is_settled([*history[:-1], pass_(True, moved=0.025)], N)


def test_a_search_at_a_much_smaller_radius_does_not_count():
    history = [pass_(True), pass_(True, radius=15.0), pass_(radius=20.0), pass_(radius=20.0)]
    assert wants_all_searched(history, N)
    assert not is_settled(history, N)


def test_passes_over_a_part_of_the_images_prepare_and_do_not_end_it():
    history = [pass_(True, images=500), pass_(images=500), pass_(images=500)]
    assert not wants_all_searched(history, N)
    assert not is_settled(history * 10, N)


def test_there_is_a_limit():
    history = [pass_(resolution_A=100.0 / (i + 1), moved=1.0, change_deg=90.0) for i in range(MOST_PASSES)]
    assert is_settled(history, N)
    assert not is_settled(history[:-1], N)
