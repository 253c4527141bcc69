"""How many recipes one process compiles in a second of its CPU time, and whether its memory stays flat.

`python benchmarks/many_compiles.py [--rounds N] [--compiles N]`. Every compile goes the whole way, from the text of a
recipe to the text of every file, in memory. No two texts are the same: each has a name and a seed of its own, so that
every plan differs too. A round compiles every shipped recipe ten times.
"""

import argparse
import itertools
import os
import re
import statistics
import time
from collections.abc import Iterator
from pathlib import Path

from recipec.diagnostics import errors
from recipec.pipeline import compile_file

ROOT = Path(__file__).parent.parent
TIMES = 10  # each recipe in a round
MARKS = (100, 1_000, 10_000)  # compiles after which memory is looked at


def varied(text: str, number: int) -> str:
    """Return the text of a recipe with a name and a seed of its own."""
    text = re.sub(r"^name: *(\S+)", rf"name: \1-{number}", text, count=1, flags=re.MULTILINE)
    return f"{text}\nseed: {number}\n" if not re.search(r"^seed:", text, re.MULTILINE) else text


def endless() -> Iterator[tuple[str, str]]:
    """Yield path and text of every shipped recipe, again and again, each time with other values."""
    paths = sorted((ROOT / "recipes").glob("*.yaml"))
    texts = {str(path.relative_to(ROOT)): path.read_text("utf-8") for path in paths}
    for number in itertools.count():
        for path, text in texts.items():
            yield path, varied(text, number)


def resident() -> float:
    """Return the memory of this process in MiB."""
    pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
    return pages * os.sysconf("SC_PAGESIZE") / 2**20


def main() -> None:
    """Print recipes per CPU second, median and best of the rounds, and memory after each of MARKS compiles."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--compiles", type=int, default=MARKS[-1], help="in all; memory is looked at up to there")
    options = parser.parse_args()
    os.chdir(ROOT)  # data paths of a recipe start at the folder one runs in
    recipes = endless()
    count = TIMES * len(list((ROOT / "recipes").glob("*.yaml")))
    done, rates, memory = 0, [], {}
    while done < options.compiles or len(rates) <= options.rounds:
        begin = time.process_time()
        for path, text in itertools.islice(recipes, count):
            compiled = compile_file(path, text=text)
            if errors(compiled.findings) or not compiled.files:
                raise SystemExit(f"{path} does not compile: {compiled.findings}")
            done += 1
            if done in MARKS:
                memory[done] = resident()
        rates.append(count / (time.process_time() - begin))
    rates = rates[1 : options.rounds + 1]  # the first loads facts and contracts
    print(
        f"recipes per CPU second: median {statistics.median(rates):.0f}, best {max(rates):.0f} of {len(rates)} rounds"
    )
    print("MiB after compiles:", ", ".join(f"{mark:,}: {found:.1f}" for mark, found in memory.items()))


if __name__ == "__main__":
    main()
