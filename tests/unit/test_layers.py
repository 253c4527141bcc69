"""Imports point one way: schema ← compiler ← launchers; no file is too long."""

import ast
import subprocess
import sys
from pathlib import Path

from recipec.systems.registry import REGISTRY

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
        and "unseen" not in path.parts  # which others wrote, and which stays as they wrote it
    ]
    assert long == []


# What may name systems: the systems, the language, and what reads or writes files of others.
OWN = ("systems", "language", "doctor", "adopt", "contracts", "facts", "scripts")
PACKAGES = {  # whose releases a report shows, and what is told that a CPU is a GPU
    "report/facts.py": {"axolotl", "transformers", "trl", "peft"},
    "rehearsal/on_cpu/sitecustomize.py": {"transformers"},
}


def named(path: Path) -> set[str]:
    """Return the systems that a module names in a text of its own; `script` is also a word of the language."""
    names = set(REGISTRY) - {"script"}
    tree = ast.parse(path.read_text(encoding="utf-8"))
    texts = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    compared = {
        one.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Compare)
        for one in node.comparators
        if isinstance(one, ast.Constant) and one.value == "script"
    }
    return texts & names | compared


def test_no_generic_module_names_a_system() -> None:
    found: dict[str, set[str]] = {}
    for layer in LAYERS:
        root = ROOT / layer / "recipec"
        for path in sorted(root.rglob("*.py")):
            place = path.relative_to(root)
            if not set(place.parts) & set(OWN):
                found[place.as_posix()] = named(path) - PACKAGES.get(place.as_posix(), set())
    assert {place: names for place, names in found.items() if names} == {}


def test_no_module_asks_for_the_class_of_a_stage() -> None:
    """Nor for that of its body: each kind has its own module, and the protocol does the rest."""
    bodies = {"Train", "Merge", "Evaluate", "Init", "Stage"}
    asked = []
    for layer in LAYERS:
        for path in (ROOT / layer / "recipec").rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "isinstance":
                    names = {getattr(one, "id", getattr(one, "attr", "")) for one in ast.walk(node.args[1])}
                    asked += [f"{path.name}:{node.lineno}"] if names & bodies else []
                if isinstance(node, ast.MatchClass) and getattr(node.cls, "id", "") in bodies:
                    asked.append(f"{path.name}:{node.lineno}")
    assert asked == []


def test_without_assertions_the_same_is_emitted() -> None:
    program = (
        "import sys, hashlib; from pathlib import Path; from recipec.pipeline import compile_file\n"
        "for path in sorted(Path('recipes').glob('*.yaml')):\n"
        "    made = compile_file(str(path))\n"
        "    print(path.name, hashlib.sha256(repr((made.files, [(one.code, one.message) for one in made.findings])).encode()).hexdigest())\n"
        "print(__debug__, file=sys.stderr)\n"
    )
    said = [
        subprocess.run([sys.executable, *option, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
        for option in ([], ["-O"])
    ]
    assert [one.stderr for one in said] == ["True\n", "False\n"]
    assert said[0].stdout == said[1].stdout
    assert said[0].stdout.count("\n") > 20


def test_no_two_test_modules_share_an_import_name() -> None:
    """Outside a package, pytest imports a module by its file's name alone: a second one of that name stops the whole run."""
    where: dict[str, list[str]] = {}
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        name = f"{path.parent.name}.{path.stem}" if (path.parent / "__init__.py").exists() else path.stem
        where.setdefault(name, []).append(str(path.relative_to(ROOT)))
    assert {name: paths for name, paths in where.items() if len(paths) > 1} == {}
