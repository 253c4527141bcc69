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
from pathlib import Path
from random import Random

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests" / "properties"))

from cases import WHAT  # noqa: E402


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
