"""Results are kept while their files stay, and made once."""

import threading

import pytest

pytest.importorskip("dash")

from cryodrake.view.memory import Memory


def test_a_result_is_made_again_only_when_a_file_changes(tmp_path):
    file, made = tmp_path / "a", []
    memory = Memory(4)

    def get():
        return memory.get("a", [file], lambda: made.append(len(made)) or len(made))

    assert (get(), get()) == (1, 1)
    file.write_text("x")
    assert (get(), get()) == (2, 2)
    file.unlink()
    assert get() == 3


def test_only_the_last_ones_are_kept():
    memory, made = Memory(2), []
    for name in "abcab":
        memory.get(name, [], lambda name=name: made.append(name))
    assert made == list("abcab")
    memory.get("b", [], lambda: made.append("b"))
    assert len(made) == 5


def test_a_result_that_takes_long_holds_up_only_those_who_want_it():
    memory, go, made = Memory(4), threading.Event(), []
    slow = [threading.Thread(target=lambda: memory.get("slow", [], lambda: go.wait(10) and made.append(1))) for _ in range(3)]
    for thread in slow:
        thread.start()
    assert memory.get("quick", [], lambda: "here") == "here"
    go.set()
    for thread in slow:
        thread.join()
    assert made == [1]


def test_an_error_is_not_kept():
    memory = Memory(4)
    with pytest.raises(ValueError, match="no"):
        memory.get("a", [], lambda: int("no"))
    assert memory.get("a", [], lambda: 3) == 3
