"""Mistaken files, made from a random state: each function writes some to a folder, has them judged, and tells what came.

The tests look at a few, `scripts/fuzz.py` at as many as one likes.
"""

from collections.abc import Callable
from pathlib import Path
from random import Random

from invariants import complaints, unfit
from invent import recipe
from mutate import VALUES, mutant

from recipec.diagnostics import Finding
from recipec.doctor import examine
from recipec.language import Recipe
from recipec.pipeline import compile_file
from recipec.render.yaml_writer import YamlWriter

ROOT = Path(__file__).parents[2]
RECIPES = sorted(path.read_bytes() for path in (ROOT / "recipes").glob("*.yaml"))
PATHS = ["", "a", "train", "train.epochs", "data.train[0].path", "data.train[9]", "data.train[٣]", "overrides.axolotl.a", "[", "]", "a..b", ".", "x" * 3000, "a." * 500 + "a", "train[", 'overrides.axolotl["a.b"]', 'a["\\ud800"]', 'name["',  "\ud800", "한국", "²", "data.train.0", "9" * 5000, "name\n"]  # fmt: skip

COMPOSED = [(ROOT / "docs" / "composition" / name).read_bytes() for name in ("base.yaml", "support.yaml")]
KINDS = (".yaml", ".yml", ".json", ".sh", ".sbatch", ".slurm")
FOREIGN = sorted(
    path
    for folder in ("tests/golden/trees", "tests/doctor", "benchmarks/mistakes/bases")
    for path in (ROOT / folder).rglob("*")
    if path.suffix in KINDS and path.name not in ("plan.json", "rules.yaml")
)

Result = tuple[list[Finding], list[str]]  # what was found in a mutant, and what is wrong with that


def one_recipe(r: Random, folder: Path) -> Result:
    """Compile a recipe with mistakes in it."""
    file = folder / "recipe.yaml"
    if r.random() < 0.35:
        writer = YamlWriter()
        for key, item in recipe(r).items():
            writer.entry(key, item)
        file.write_bytes(writer.result().encode())
    else:
        file.write_bytes(mutant(r, r.choice(RECIPES)))
    settings = []
    if r.random() >= 0.85:
        path = r.choice([*PATHS, *Recipe.model_fields])
        value = r.choice([*VALUES, "\ud800", "\0", "\t", "\n", "a: b", "\ufeffx", "x # y"])
        settings = [path + r.choice(["=", "", "==", "= "]) + value]
    compiled = compile_file(str(file), settings)
    return compiled.findings, complaints(compiled)


def several_files(r: Random, folder: Path) -> Result:
    """Compile a recipe that extends another, with mistakes in one of them or in both."""
    base, child = COMPOSED
    if r.random() < 0.5:
        base, child = r.choice(RECIPES), b"extends: base.yaml\n" + r.choice([*RECIPES, child, b"train: {epochs: 2}\n"])
    both = r.random() < 0.3
    (folder / "base.yaml").write_bytes(mutant(r, base) if both or r.random() < 0.5 else base)
    (folder / "recipe.yaml").write_bytes(mutant(r, child) if both or r.random() < 0.5 else child)
    settings = r.choice([[], [], ["train.log_every=3"], ["train.epochs=null"], ["data.train+=[1]"], ["variables=null"]])
    profiles, variables = r.choice([[], ["debug"], ["cluster", "debug"], ["no"]]), r.choice([[], ["size=3"], ["x"]])
    compiled = compile_file(str(folder / "recipe.yaml"), settings, profiles, variables)
    return compiled.findings, complaints(compiled)


def tools_files(r: Random, folder: Path) -> Result:
    """Let doctor judge files of the tools with mistakes in them."""
    first = r.choice(FOREIGN)
    near = [path for path in FOREIGN if path.parent == first.parent]
    files = []
    for path in dict.fromkeys([first, r.choice(near)]):
        files.append(folder / path.name)
        files[-1].write_bytes(mutant(r, path.read_bytes()))
    findings = examine([str(file) for file in files]).findings
    return findings, [text for finding in findings for text in unfit(finding)]


WHAT: dict[str, Callable[[Random, Path], Result]] = {
    "recipes": one_recipe,
    "several": several_files,
    "doctor": tools_files,
}
