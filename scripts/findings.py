"""Every code of findings, with what it says in one example: `python scripts/findings.py` prints `docs/findings.md`.

The examples are what is shown for the wrong recipes of the test suite and for the example of each rule.
"""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
SOURCES = [ROOT / name / "recipec" for name in ("schema", "compiler", "launchers")]
CODE = re.compile(r'["\[]([PRSTOLD][0-9]{3})["\]]')
SHOWN = re.compile(
    r"^(error|warning)\[([A-Z][0-9]{3})\]: (.*(?:\n(?!error\[|warning\[|\d+ error|\d+ warning).*)*)", re.MULTILINE
)
FAMILIES = {
    "S": "Reading: the text of a file",
    "R": "Words: what the language knows",
    "P": "Decisions that contradict each other",
    "D": "Data: the rows of local files",
    "L": "Rules",
    "T": "What the chosen tools cannot do, or do another way",
    "O": "Output",
}
# Codes whose cause is no recipe that could stand beside its output; tests make it instead.
ELSEWHERE = {
    "S001": "no such file", "S002": "a folder", "S003": "a file that may not be read", "S004": "a file of more than 16 MiB",
    "S032": "an edit that would lose something", "S033": "a file that cannot be formatted without loss",
    "S043": "more than 64 files in one recipe",
    "S030": "a wrong `--set`", "S031": "a `--set` through a value", "O001": "a file where the output folder belongs",
    "O002": "a folder with files that are not ours", "O003": "an emitted file that was changed by hand", "O004": "a file that cannot be written",
    "O005": "two recipes of one name", "O006": "standard output that cannot be written", "O007": "output that is stale",
    "D094": "`recipe data` on a file that is not there", "D095": "`recipe data` on a recipe without such a training",
    "D096": "`recipe data` on a file that is no JSON or CSV", "D097": "rows that are other tokens than in the snapshot",
    "D098": "`recipe data --snapshot` where there are no tokens to keep",
}  # fmt: skip


def codes() -> set[str]:
    """Return every code that the sources hold."""
    files = [file for folder in SOURCES for file in folder.rglob("*.py") if "doctor" not in file.parts]
    return {code for file in files for code in CODE.findall(file.read_text("utf-8"))}


def examples() -> dict[str, tuple[str, str, str]]:
    """Return, for each code, its severity, message and whole text in the shortest example of the tests."""
    found: dict[str, tuple[str, str, str]] = {}
    for file in sorted((ROOT / "tests").rglob("*.out")):
        if "doctor" in file.parts:
            continue
        for severity, code, text in SHOWN.findall(file.read_text(encoding="utf-8")):
            message = text.partition("\n")[0]
            if code not in found or len(message) < len(found[code][1]):
                found[code] = (severity, message, f"{severity}[{code}]: {text.rstrip()}")
    return found


def document() -> str:
    """Return the page."""
    known, shown = codes(), examples()
    parts = [
        "# Findings\n\nEvery code that `recipe check` and `recipe compile` may print, made by `make generated` from the sources and\n"
        "from the wrong recipes of the test suite (`tests/bad/recipes`). [rules.md](rules.md) has more about `L` and `P`,\n[doctor.md](doctor.md) about what `recipe doctor` says of files of the tools.\n"
    ]
    for letter, title in FAMILIES.items():
        rows = []
        for code in sorted(code for code in known | set(shown) if code.startswith(letter)):
            if code in shown:
                severity, message, _ = shown[code]
                rows.append(f"| {code} | {severity} | {message.replace('|', chr(92) + '|')} |")
            elif code in ELSEWHERE:
                rows.append(f"| {code} | error | {ELSEWHERE[code]} |")
        if rows:
            parts.append(
                f"\n## {letter}: {title}\n\n| code | severity | an example |\n|---|---|---|\n" + "\n".join(rows) + "\n"
            )
    return "".join(parts)


if __name__ == "__main__":
    sys.stdout.write(document())
