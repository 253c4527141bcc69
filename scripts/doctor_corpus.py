"""Count what `recipe doctor` finds in a folder of configurations: `python scripts/doctor_corpus.py [FOLDER]`."""

import sys
from collections import Counter
from pathlib import Path

from recipec.doctor import examine

ROOT = Path(__file__).parents[1]


def main(folder: Path) -> None:
    """Print one row for each tool, and the files that are none of them."""
    counts: dict[str, Counter[str]] = {}
    for file in sorted(folder.rglob("*")):
        if file.suffix not in (".yaml", ".yml", ".json"):
            continue
        found = examine([str(file)])
        title = found.recognised[0][1].title if found.recognised else "no tool of doctor's"
        row = counts.setdefault(title.replace(" (sft)", "").replace(" (dpo)", ""), Counter())
        row["files"] += 1
        for finding in found.findings:
            row[f"{finding.severity} {finding.code}"] += 1
    for title, row in sorted(counts.items()):
        rest = ", ".join(f"{count} {name}" for name, count in sorted(row.items()) if name != "files")
        print(f"{title}: {row['files']} files; {rest or 'nothing found'}")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT.parent / "shared" / "corpus")
