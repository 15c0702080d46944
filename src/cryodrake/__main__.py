"""`python -m cryodrake` is the command `cryodrake`."""

from cryodrake.app.cli import entry

entry()
