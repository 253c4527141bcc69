"""Imports point one way: schema ← compiler ← launchers; no file is too long."""

import ast
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
LAYERS = ("schema", "compiler", "launchers")


def modules(layer: str) -> set[str]:
    folder = ROOT / layer / "recipec"
    return {path.name.removesuffix(".py") for path in folder.iterdir() if path.name != "__pycache__"}


def test_no_module_name_is_in_two_layers() -> None:
    names = [name for layer in LAYERS for name in modules(layer)]
    assert len(names) == len(set(names))
    for layer in LAYERS:
        assert not (ROOT / layer / "recipec" / "__init__.py").exists()


def test_imports_point_one_way() -> None:
    for index, layer in enumerate(LAYERS):
        above = {f"recipec.{name}" for later in LAYERS[index + 1 :] for name in modules(later)}
        for path in (ROOT / layer).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                names = (
                    [node.module or ""]
                    if isinstance(node, ast.ImportFrom)
                    else [a.name for a in node.names]
                    if isinstance(node, ast.Import)
                    else []
                )
                for name in names:
                    assert ".".join(name.split(".")[:2]) not in above, f"{path} imports {name}"


def test_no_file_is_too_long() -> None:
    long = [
        path
        for layer in (*LAYERS, "tests", "scripts", "benchmarks")
        for path in (ROOT / layer).rglob("*.py")
        if len(path.read_text().splitlines()) > 500
    ]
    assert long == []
