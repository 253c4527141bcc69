"""Judge mistaken files by the thousand, and stop for none: `python scripts/fuzz.py [--of WHAT] [--mutants N] [--seed S]`.

Each mutant is a recipe of `recipes/` with mistakes in it, or one made up from the language, or a wild `--set`; with
`--of several` a recipe that extends another, either with mistakes; with `--of doctor` files of the tools from the tests,
one or two together. What must hold of all is in `tests/properties/invariants.py`. Every defect is printed with the seed
that repeats it (`--seed S --mutants 1`), one per kind; the exit code is 1 when there was any.
"""

import argparse
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from random import Random

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests" / "properties"))

from invariants import complaints, unfit  # noqa: E402
from invent import recipe  # noqa: E402
from mutate import VALUES, mutant  # noqa: E402

from recipec.diagnostics import Finding  # noqa: E402
from recipec.doctor import examine  # noqa: E402
from recipec.language import Recipe  # noqa: E402
from recipec.pipeline import compile_file  # noqa: E402
from recipec.render.yaml_writer import YamlWriter  # noqa: E402

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


def main() -> int:
    """Run, and print a line for each kind of defect."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--of", choices=WHAT, default="recipes")
    parser.add_argument("--mutants", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    kinds: Counter[str] = Counter()
    outcomes: Counter[str] = Counter()
    slowest = (0.0, 0)
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(options.seed, options.seed + options.mutants):
            start = time.process_time()
            try:
                findings, wrong = WHAT[options.of](Random(seed), Path(folder))
                slowest = max(slowest, (time.process_time() - start, seed))
                outcomes[findings[0].code if findings else "nothing found"] += 1
            except Exception as error:  # the very thing that is looked for
                last = traceback.extract_tb(error.__traceback__)[-1]
                wrong = [f"{type(error).__name__} at {Path(last.filename).name}:{last.lineno}: {error}"]
            for text in wrong:
                kind = "".join(c for c in text[:40] if not c.isdigit())
                kinds[kind] += 1
                if kinds[kind] == 1:
                    print(f"seed {seed}: {text[:600]!r}")
    print(
        f"{options.mutants} mutants, {sum(kinds.values())} defects of {len(kinds)} kinds; first findings: {outcomes.most_common(60)}"
    )
    print(f"slowest: {slowest[0]:.2f} CPU s, seed {slowest[1]}")
    return 1 if kinds else 0


if __name__ == "__main__":
    sys.exit(main())
