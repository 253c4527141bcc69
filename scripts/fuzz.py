"""Compile mistaken recipes by the thousand, and stop for none: `python scripts/fuzz.py [--mutants N] [--seed S]`.

Each mutant is a recipe of `recipes/` with mistakes in it, or one made up from the language, or a wild `--set`. What
must hold of all of them is in `tests/properties/invariants.py`. Every defect is printed with the seed that repeats it
(`--seed S --mutants 1`), one per kind; the exit code is 1 when there was any.
"""

import argparse
import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path
from random import Random

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests" / "properties"))

from invariants import complaints  # noqa: E402
from invent import recipe  # noqa: E402
from mutate import VALUES, mutant  # noqa: E402

from recipec.language import Recipe  # noqa: E402
from recipec.pipeline import compile_file  # noqa: E402
from recipec.render.yaml_writer import YamlWriter  # noqa: E402

RECIPES = sorted(path.read_bytes() for path in (ROOT / "recipes").glob("*.yaml"))
PATHS = ["", "a", "train", "train.epochs", "data.train[0].path", "data.train[9]", "data.train[٣]", "overrides.axolotl.a", "[", "]", "a..b", ".", "x" * 3000, "a." * 500 + "a", "train[", 'overrides.axolotl["a.b"]', 'a["\\ud800"]', 'name["',  "\ud800", "한국", "²", "data.train.0", "9" * 5000, "name\n"]  # fmt: skip


def case(seed: int, file: Path) -> list[str]:
    """Write the recipe of a seed and return the settings that go with it."""
    r = Random(seed)
    if r.random() < 0.35:
        writer = YamlWriter()
        for key, item in recipe(r).items():
            writer.entry(key, item)
        file.write_bytes(writer.result().encode())
    else:
        file.write_bytes(mutant(r, r.choice(RECIPES)))
    if r.random() < 0.85:
        return []
    path = r.choice([*PATHS, *Recipe.model_fields])
    return [
        path
        + r.choice(["=", "", "==", "= "])
        + r.choice([*VALUES, "\ud800", "\0", "\t", "\n", "a: b", "\ufeffx", "x # y"])
    ]


def main() -> int:
    """Run, and print a line for each kind of defect."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mutants", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    kinds: Counter[str] = Counter()
    outcomes: Counter[str] = Counter()
    slowest = (0.0, 0)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "recipe.yaml"
        for seed in range(options.seed, options.seed + options.mutants):
            settings = case(seed, file)
            start = time.process_time()
            try:
                compiled = compile_file(str(file), settings)
                slowest = max(slowest, (time.process_time() - start, seed))
                found = complaints(compiled)
                outcomes[compiled.findings[0].code if compiled.findings else "compiled"] += 1
            except Exception as error:  # the very thing that is looked for
                last = traceback.extract_tb(error.__traceback__)[-1]
                found = [f"{type(error).__name__} at {Path(last.filename).name}:{last.lineno}: {error}"]
            for text in found:
                kind = "".join(c for c in text[:40] if not c.isdigit())
                kinds[kind] += 1
                if kinds[kind] == 1:
                    print(f"seed {seed}: {text[:600]!r} {settings!r:.200}")
    print(
        f"{options.mutants} mutants, {sum(kinds.values())} defects of {len(kinds)} kinds; first findings: {outcomes.most_common(60)}"
    )
    print(f"slowest: {slowest[0]:.2f} CPU s, seed {slowest[1]}")
    return 1 if kinds else 0


if __name__ == "__main__":
    sys.exit(main())
