"""Test only: run a trainer's own program up to the point where it would train, and write the batches that it made.

    python first_epoch.py OUT PROGRAM [ARGUMENT …]

PROGRAM is a script, or a module with `main`. Each row is [tokens, labels]; what is packed together is taken apart.
"""

import importlib
import json
import runpy
import sys
from pathlib import Path
from typing import Any

import transformers

OUT, PROGRAM = Path(sys.argv[1]), sys.argv[2]


def write(trainer: Any, *_given: Any, **_named: Any) -> None:
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
    OUT.write_text(json.dumps({"rows": rows, "sequences": len(trainer.train_dataset)}), encoding="utf-8")
    raise SystemExit(0)


transformers.Trainer.train = write
sys.argv = sys.argv[2:]
if PROGRAM.endswith(".py"):
    sys.path.insert(0, str(Path(PROGRAM).parent))
    runpy.run_path(PROGRAM, run_name="__main__")
else:
    importlib.import_module(PROGRAM).main()
