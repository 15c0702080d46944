"""The two exceptions that end a command on purpose.

`InputError` is the user's input being wrong (exit code 2, one message, no traceback); `JobStopped` is the user
stopping a run (exit code 130, resumable). Everything else that escapes is a fault of ours (exit code 1).
"""


class InputError(Exception):
    """The input cannot be used as it is.

    Args:
        what: what is wrong, one sentence.
        where: the file, row, column or option it was found in.
        expected: what would have been right.
        do: what the user can do about it.
    """

    def __init__(self, what: str, where: object = None, expected: str | None = None, do: str | None = None):
        self.what = what
        self.where = None if where is None else str(where)
        self.expected = expected
        self.do = do
        super().__init__(what, self.where, expected, do)

    def __str__(self) -> str:
        parts = [self.what if self.where is None else f"{self.where}: {self.what}"]
        if self.expected is not None:
            parts.append(f"expected: {self.expected}")
        if self.do is not None:
            parts.append(f"do: {self.do}")
        return "\n  ".join(parts)


class JobStopped(Exception):
    """The user (Ctrl-C or SIGTERM) or a time limit stopped the run at a point from which it resumes."""
