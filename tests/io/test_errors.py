import pickle

from cryodrake.errors import InputError


def test_message_has_all_parts_in_one_string() -> None:
    error = InputError("voltage is 300000", where="a.star, particle 3", expected="kilovolts", do="divide by 1000")
    assert str(error) == "a.star, particle 3: voltage is 300000\n  expected: kilovolts\n  do: divide by 1000"
    assert (error.what, error.where, error.expected, error.do) == error.args


def test_parts_may_be_missing_and_the_error_crosses_processes() -> None:
    assert str(InputError("nothing to do")) == "nothing to do"
    copy = pickle.loads(pickle.dumps(InputError("a", where=3, do="b")))
    assert str(copy) == "3: a\n  do: b"
