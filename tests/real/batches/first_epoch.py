"""Test only: run a trainer's own program up to the point where it would train, and write the batches that it made.

    python first_epoch.py OUT PROGRAM [ARGUMENT …]

PROGRAM is a script, or a module. Each row is [tokens, labels]; what is packed together is taken apart.
"""

import json
import sys
from pathlib import Path
from typing import Any

from until_trained import run


def write(trainer: Any) -> None:
    rows = []
    known = iter(trainer.train_dataset)  # in the order of the batches, where nothing is shuffled
    for batch in trainer.get_train_dataloader():
        for ids, labels in zip(batch["input_ids"].tolist(), batch["labels"].tolist(), strict=True):
            row = next(known)
            marks = row.get("attention_mask") or [1] * len(row["input_ids"])  # 1, 2, … for rows packed together
            assert ids[: len(marks)] == row["input_ids"]
            for mark in sorted(set(marks) - {0}):
                places = [place for place, found in enumerate(marks) if found == mark]
                rows.append([[ids[place] for place in places], [labels[place] for place in places]])
    found = {"rows": rows, "sequences": len(trainer.train_dataset)}
    Path(OUT).write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":  # not in the processes that datasets starts
    OUT, PROGRAM, *ARGUMENTS = sys.argv[1:]
    run(PROGRAM, ARGUMENTS, write)
