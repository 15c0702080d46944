"""Shapes and types of every cryodrake function are checked while the suite runs, and only then."""

import jaxtyping

# As for mypy, a whole number will do where a float is asked for (the "numeric tower" of PEP 484).
TYPE_CHECKER = "beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))"

jaxtyping.install_import_hook("cryodrake", TYPE_CHECKER)
