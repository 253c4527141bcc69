"""Rows as LLaMA-Factory prepares them: its own arguments, data loader, templates and processors, on a CPU.

Nothing is reimplemented: its functions are called with the emitted file, on a limited number of rows.
"""

import copy
import shutil
from pathlib import Path

import common
import yaml

# settings that fail without the recipe's GPUs, and do not change the rows
MACHINE = ("bf16", "fp16", "tf32", "torch_compile", "deepspeed", "fsdp", "fsdp_config", "preprocessing_num_workers")
LOADED_AS = {"dpo": "rm"}  # stages whose workflow loads its rows like another stage
WHOLE = 1 << 30  # tokens: longer than any row
NO_ROWS = "Cannot find valid samples"  # its error when it accepts no row
START = "start"  # the link in the data folder that `run.sh` makes


def main() -> None:
    """Answer the request."""
    request = common.read_request()
    if common.load_tokenizer(request) is None:
        return
    preparation = Preparation(request)
    names, position = list(preparation.data_args.dataset), 0
    sources, notes, loaded = [], [], []
    for source in request["sources"]:
        seen, rows = preparation.load(names[position], request["bound"])
        position += source["weight"]  # LLaMA-Factory lists a source as often as its weight says
        found, lengths = read(preparation, rows, request["rows"])
        left = seen["read"] - len(found["lengths"])
        if left:
            name = source["path"] or source["hub"]
            notes.append(
                f"{name}: LLaMA-Factory skips {left:,} of {seen['read']:,} rows, because it rejects their turns"
            )
        sources.append(found | seen)
        loaded.append((rows, lengths, source["weight"]))
    if not any(found["lengths"] for found in sources):
        raise SystemExit("\n".join([*notes, NO_ROWS]))  # as its training would fail
    packing = preparation.data_args.packing and preparation.stage in ("pt", "sft")
    common.answer(
        versions=common.versions(),
        template=common.template_digest(preparation.tokenizer),
        sources=sources,
        notes=notes,
        packing=packed(preparation, loaded) if packing else None,
    )


def settings(request: dict) -> dict:
    """Return the settings of the emitted file without those for GPUs; create the data folder as `run.sh` does."""
    said = yaml.safe_load(Path(request["file"]).read_text(encoding="utf-8"))
    scratch = Path(request["scratch"])
    folder = scratch / "data"
    folder.mkdir()
    shutil.copy(Path(request["folder"]) / "dataset_info.json", folder)
    (folder / START).symlink_to(Path.cwd(), target_is_directory=True)
    own = {"output_dir": str(scratch / "output"), "dataset_dir": str(folder), "streaming": False}
    own |= {"use_cpu": True, "dataloader_num_workers": 0, "report_to": ["none"]}
    return {key: value for key, value in said.items() if key not in MACHINE} | own


class Preparation:
    """Prepares rows with LLaMA-Factory's arguments, tokenizer and template for one emitted file."""

    def __init__(self, request: dict) -> None:
        from llamafactory.data import get_template_and_fix_tokenizer
        from llamafactory.hparams import get_train_args
        from llamafactory.model import load_tokenizer

        self.model_args, self.data_args, self.training_args, finetuning, _ = get_train_args(settings(request))
        self.module = load_tokenizer(self.model_args)
        self.tokenizer = self.module["tokenizer"]
        self.template = get_template_and_fix_tokenizer(self.tokenizer, self.data_args)
        self.stage = LOADED_AS.get(finetuning.stage, finetuning.stage)

    def load(self, name: str, bound: int):
        """Return the counts, and the rows of one data set in LLaMA-Factory's own form, not yet tokenized."""
        from llamafactory.data import loader

        seen = common.limited(loader, "load_dataset", bound)
        rows = loader._get_merged_dataset([name], self.model_args, self.data_args, self.training_args, self.stage)
        return seen, rows

    def tokens(self, rows, **changed):
        """Return rows as tokens and labels, with some data arguments changed; None when it accepts no row."""
        from llamafactory.data import loader

        data_args = copy.copy(self.data_args)
        for name, value in changed.items():
            setattr(data_args, name, value)
        try:
            return loader._get_preprocessed_dataset(
                rows, data_args, self.training_args, self.stage, self.template, **self.module
            )
        except RuntimeError as error:
            if NO_ROWS not in str(error):
                raise
            return None

    def labels(self, dataset) -> list:
        """Return the labels of each row; in pre-training, its workflow creates them when it builds a batch."""
        if self.stage != "pt":
            return list(dataset["labels"])
        from transformers import DataCollatorForLanguageModeling

        collator = DataCollatorForLanguageModeling(tokenizer=self.tokenizer, mlm=False)
        return [collator([{"input_ids": ids}])["labels"][0].tolist() for ids in dataset["input_ids"]]


def read(preparation: Preparation, rows, shown: int) -> tuple[dict, list]:
    """Return a source for the answer, and the lengths of its rows in training."""
    whole = preparation.tokens(rows, cutoff_len=WHOLE, packing=False, neat_packing=False)
    empty = {"rows": [], "lengths": [], "trained": None, "dropped": 0, "cut": 0}
    if whole is None:
        return empty, []
    if preparation.stage == "pt" and preparation.data_args.packing:  # rows are joined and split: none is cut
        kept = whole
    else:
        kept = preparation.tokens(rows, packing=False, neat_packing=False)
    supervised = "input_ids" in whole.column_names and preparation.stage != "kto"
    before, after = sizes(whole), sizes(kept)
    pairs = list(zip(before, after, strict=True))
    found = empty | {"lengths": before, "cut": sum(new < old for old, new in pairs)}
    first = kept.select(range(min(shown, len(kept))))
    if supervised:
        found["trained"] = [sum(label != -100 for label in labels) for labels in preparation.labels(whole)]
        found["rows"] = [
            common.token_row(list(ids), [int(label != -100) for label in labels], preparation.tokenizer)
            | ({"cut_from": old} if new < old else {})
            for ids, labels, (old, new) in zip(first["input_ids"], preparation.labels(first), pairs, strict=False)
        ]
    else:
        found["rows"] = [{"texts": texts(row, preparation.tokenizer)} for row in first]
    return found, after


def sizes(dataset) -> list:
    """Return the number of tokens in each row; for a pair, in its longer side."""
    sides = [name for name in ("input_ids", "chosen_input_ids", "rejected_input_ids") if name in dataset.column_names]
    return [max(map(len, row)) for row in zip(*(dataset[side] for side in sides), strict=True)]


def texts(row: dict, tokenizer) -> dict:
    """Return the rendered prompt and answers. Which of their tokens are trained depends on the method."""
    found = {}
    for side in ("chosen", "rejected", "completion"):
        prefix = "" if side == "completion" else f"{side}_"
        if f"{prefix}input_ids" not in row:
            continue
        ids, labels = row[f"{prefix}input_ids"], row[f"{prefix}labels"]
        start = next((place for place, label in enumerate(labels) if label != -100), len(ids))
        found.setdefault("prompt", tokenizer.decode(ids[:start], skip_special_tokens=False))
        found[side] = tokenizer.decode(ids[start:], skip_special_tokens=False)
    return found


def packed(preparation: Preparation, loaded: list) -> dict:
    """Return how full the packed sequences of all sources are, with its own packing."""
    from llamafactory.data.data_utils import merge_dataset

    every = [rows for rows, _, weight in loaded for _ in range(weight)]
    merged = merge_dataset(every, preparation.data_args, seed=preparation.training_args.seed)
    dataset = preparation.tokens(merged)
    full = [] if dataset is None else [len(ids) for ids in dataset["input_ids"]]
    within = sum(sum(lengths) * weight for _, lengths, weight in loaded)  # packed conversations are padded
    return {
        "sequences": len(full),
        "tokens": sum(full) if preparation.stage == "pt" else within,
        "room": sum(full),
    }


if __name__ == "__main__":
    main()
