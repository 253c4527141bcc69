"""How much CPU time the variants of a sweep take, and whether memory stays flat.

`python benchmarks/sweep.py [--variants N …]`. Each number is a process of its own, which compiles that many variants of a
shipped recipe, from the text of the recipe to the text of every file of every variant, and keeps none. Start of Python and
imports are not counted: that is `cold_start.py`. With `--write`, the files are written too, as they come.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

from recipec.compose import compose
from recipec.diagnostics import errors
from recipec.output import write
from recipec.pipeline import compile_file, of_sweep
from recipec.sweep import sweep_of

ROOT = Path(__file__).parent.parent
RECIPE = "recipes/mistral-7b-dpo-trl.yaml"
OVER = "{train.learning_rate: {log_uniform: [1e-7, 1e-5]}, train.beta: {uniform: [0.01, 0.5]}, adapter.rank: {choice: [8, 16, 32, 64]}}"


def cpu() -> float:
    """Return the CPU seconds of this process."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def measure(recipe: str, over: str, variants: int, *, written: bool) -> None:
    """Compile a sweep, and print its variants, the CPU seconds, and the peak of memory in MiB before and after."""
    os.chdir(ROOT)
    text = f"{Path(recipe).read_text('utf-8')}\nsweep: {{random: {{samples: {variants}, seed: 1, over: {over}}}}}\n"
    compile_file(recipe)  # facts and contracts are loaded, as in any process that has compiled one recipe
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    begin, count = cpu(), 0
    composed = compose(recipe, text=text)
    sweep = sweep_of(composed.tree)
    assert sweep is not None
    with tempfile.TemporaryDirectory() as folder:
        for compiled in of_sweep(recipe, composed, sweep):
            if errors(compiled.findings) or not compiled.files:
                raise SystemExit(f"{compiled.name} does not compile: {compiled.findings}")
            count += 1
            if written:
                write(Path(folder) / compiled.name, compiled.files)
        seconds = cpu() - begin
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(f"{count:,} variants: {seconds:.3f} CPU s, peak {before / 1024:.0f} → {after / 1024:.0f} MiB", flush=True)


def main() -> None:
    """Measure each number of variants in a process of its own."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--recipe", default=RECIPE)
    parser.add_argument("--over", default=OVER, help="what is swept, as sweep.random.over has it")
    parser.add_argument("--variants", type=int, nargs="*", default=[100, 1_000, 10_000])
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    if len(options.variants) == 1:
        measure(options.recipe, options.over, options.variants[0], written=options.write)
        return
    for variants in options.variants:
        more = ["--write"] if options.write else []
        command = [sys.executable, __file__, "--recipe", options.recipe, "--over", options.over, *more]
        subprocess.run([*command, "--variants", str(variants)], check=True)


if __name__ == "__main__":
    main()
