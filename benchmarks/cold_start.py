"""Cold `recipe` commands as whole processes, paired with the floor that pydantic and ruamel.yaml set.

`python benchmarks/cold_start.py [--rounds N] [--axolotl PYTHON]`; PYTHON is that of an Axolotl environment, whose own
loading of the emitted file is then timed too. Every round runs each command once, in turn, so that noise of the
machine falls on all alike; medians of user CPU time are compared.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
RECIPE = "recipes/llama-2-13b-zero3.yaml"
FLOOR = "from pydantic import BaseModel; import ruamel.yaml"
AXOLOTL = "import sys; from axolotl.cli.config import load_cfg; load_cfg(sys.argv[1])"


def measure(command: list[str]) -> tuple[float, float]:
    """Run a command; return its user CPU seconds and peak memory in MiB."""
    variables = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}  # as a person has it
    process = subprocess.Popen(command, cwd=ROOT, env=variables, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _pid, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{command} failed")
    return usage.ru_utime, usage.ru_maxrss / 1024


def main() -> None:
    """Print a table of medians and ratios to the floor."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=31)
    parser.add_argument("--axolotl", metavar="PYTHON")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as out:
        big = Path(out) / "big.yaml"
        lines = [f"  key{i}: {{a: {i}, b: 1e-4, c: [x, y]}}\n" for i in range(26000)]
        big.write_text("recipe: 1\nbig:\n" + "".join(lines))
        read = f"from recipec.yaml_reader import read_file; read_file({str(big)!r})"
        commands = {
            "floor": [sys.executable, "-c", FLOOR],
            "compile": [sys.executable, "-m", "recipec.cli", "compile", RECIPE, "--out", out],
            "check": [sys.executable, "-m", "recipec.cli", "check", RECIPE],
            "--help": [sys.executable, "-m", "recipec.cli", "--help"],
            "read 1 MB": [sys.executable, "-c", read],
        }
        rows: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
        for _round in range(options.rounds + 1):
            for name, command in commands.items():
                rows[name].append(measure(command))
        if options.axolotl:
            rows["Axolotl loads"] = [
                measure([options.axolotl, "-c", AXOLOTL, "build/quickstart/10-train/axolotl.yaml"])
            ] * 2
    floor = statistics.median(seconds for seconds, _ in rows["floor"][1:])
    print(f"{'command':<14}{'user s':>8}{'ratio':>8}{'MiB':>7}")
    for name, figures in rows.items():
        seconds = statistics.median(figure for figure, _ in figures[1:])
        memory = max(figure for _, figure in figures[1:])
        print(f"{name:<14}{seconds:>8.3f}{seconds / floor:>8.2f}{memory:>7.0f}")


if __name__ == "__main__":
    main()
