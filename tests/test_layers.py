"""Imports point one way: a module may import only from its own layer and from those before it."""

import ast
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "cryodrake"
LAYERS = ("errors", "physics", "io", "data", "fields", "inference", "training", "analysis", "view", "app")
MODULES = [path for path in sorted(SOURCE.rglob("*.py")) if path.parent != SOURCE]


def imported_layers(path: Path) -> set[str]:
    """First names after `cryodrake.` in every import of a file, wherever in it."""
    names = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    return {name.split(".")[1] for name in names if name.startswith("cryodrake.")} - {"__version__"}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_imports_point_to_earlier_layers_only(path):
    own = path.relative_to(SOURCE).parts[0]
    allowed = set(LAYERS[: LAYERS.index(own) + 1])
    assert imported_layers(path) <= allowed


def test_a_wrong_import_would_be_found(tmp_path):
    (tmp_path / "bad.py").write_text("def f():\n    from cryodrake.app import cli\n    import cryodrake.io.star\n")
    assert imported_layers(tmp_path / "bad.py") == {"app", "io"}
