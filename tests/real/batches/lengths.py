"""Test only: run a trainer's own program up to the point where it would train, and write which lengths share a batch.

    python lengths.py OUT PROGRAM [ARGUMENT …]

OUT gets a list of batches; a batch is the tokens of each of its rows, without the padding.
"""

import json
import sys
from pathlib import Path
from typing import Any

from until_trained import run


def write(trainer: Any) -> None:
    batches = [batch["attention_mask"].sum(dim=1).tolist() for batch in trainer.get_train_dataloader()]
    Path(OUT).write_text(json.dumps(batches), encoding="utf-8")


if __name__ == "__main__":  # not in the processes that datasets starts
    OUT, PROGRAM, *ARGUMENTS = sys.argv[1:]
    run(PROGRAM, ARGUMENTS, write)
