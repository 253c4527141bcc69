"""Ask LLaMA-Factory: its parser on the file, its parser on the same options as a command line, its list of data."""

import json
from importlib import import_module
from pathlib import Path

from asking import Job, judge, run

JUDGE = judge("llamafactory")


def validate(job: Job) -> None:
    """Read as a file, unknown keys are refused; as a command line, wrong types and choices. Either counts."""
    parser = import_module("llamafactory.hparams.parser")
    file = Path(job["file"])
    given = import_module("yaml").safe_load(file.read_text(encoding="utf-8"))
    with JUDGE.pretended(job):
        data = parser.get_train_args(dict(given))[1]
        parser.get_train_args([word for key, value in given.items() for word in JUDGE.words(key, value)])
    names = [*(data.dataset or []), *(data.eval_dataset or [])]
    info = json.loads((file.parent / "dataset_info.json").read_text(encoding="utf-8"))
    import_module("llamafactory.data.parser").get_dataset_list(names, info)


if __name__ == "__main__":
    run(validate)
