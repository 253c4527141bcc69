"""Rows as LLaMA-Factory prepares them: its own arguments, data loader, templates and processors, on a CPU.

Nothing here is a copy of what it does: its functions are called on the emitted file, with the rows limited in number.
"""

import copy
import shutil
from pathlib import Path

import common
import yaml

# what a machine without the recipe's GPUs refuses, and what no row depends on
MACHINE = ("bf16", "fp16", "tf32", "torch_compile", "deepspeed", "fsdp", "fsdp_config", "preprocessing_num_workers")
LOADED = {"dpo": "rm"}  # the stages whose workflow loads its rows as those of another stage
WHOLE = 1 << 30  # tokens: longer than any row
NOTHING = "Cannot find valid samples"  # what it says where it takes no row
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
        position += source["weight"]  # LLaMA-Factory lists a source as often as it weighs
        found, lengths = read(preparation, rows, request["rows"])
        left = seen["read"] - len(found["lengths"])
        if left:
            name = source["path"] or source["hub"]
            notes.append(f"{name}: LLaMA-Factory leaves out {left:,} of {seen['read']:,} rows, whose turns it refuses")
        sources.append(found | seen)
        loaded.append((rows, lengths, source["weight"]))
    if not any(found["lengths"] for found in sources):
        raise SystemExit("\n".join([*notes, NOTHING]))  # as its training would end
    packing = preparation.data_args.packing and preparation.stage in ("pt", "sft")
    common.answer(
        versions=common.versions(),
        template=common.template_digest(preparation.tokenizer),
        sources=sources,
        notes=notes,
        packing=packed(preparation, loaded) if packing else None,
    )


def settings(request: dict) -> dict:
    """Return what the emitted file says, less the machine's part; the data folder is made as `run.sh` makes it."""
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
    """LLaMA-Factory's arguments, tokenizer and template for one emitted file, and what it makes of rows with them."""

    def __init__(self, request: dict) -> None:
        from llamafactory.data import get_template_and_fix_tokenizer
        from llamafactory.hparams import get_train_args
        from llamafactory.model import load_tokenizer

        self.model_args, self.data_args, self.training_args, finetuning, _ = get_train_args(settings(request))
        self.module = load_tokenizer(self.model_args)
        self.tokenizer = self.module["tokenizer"]
        self.template = get_template_and_fix_tokenizer(self.tokenizer, self.data_args)
        self.stage = LOADED.get(finetuning.stage, finetuning.stage)

    def load(self, name: str, bound: int):
        """Return the counts, and the rows of one data set in LLaMA-Factory's own form, before they are tokens."""
        from llamafactory.data import loader

        seen = common.limited(loader, "load_dataset", bound)
        rows = loader._get_merged_dataset([name], self.model_args, self.data_args, self.training_args, self.stage)
        return seen, rows

    def tokens(self, rows, **changed):
        """Return rows as tokens and labels, with some arguments of the data changed; None where it takes no row."""
        from llamafactory.data import loader

        data_args = copy.copy(self.data_args)
        for name, value in changed.items():
            setattr(data_args, name, value)
        try:
            return loader._get_preprocessed_dataset(
                rows, data_args, self.training_args, self.stage, self.template, **self.module
            )
        except RuntimeError as error:
            if NOTHING not in str(error):
                raise
            return None

    def labels(self, dataset) -> list:
        """Return the labels of each row: of texts, its workflow makes them when it puts rows into a batch."""
        if self.stage != "pt":
            return list(dataset["labels"])
        from transformers import DataCollatorForLanguageModeling

        collator = DataCollatorForLanguageModeling(tokenizer=self.tokenizer, mlm=False)
        return [collator([{"input_ids": ids}])["labels"][0].tolist() for ids in dataset["input_ids"]]


def read(preparation: Preparation, rows, shown: int) -> tuple[dict, list]:
    """Return a source for the answer, and the lengths of its rows as they are trained on."""
    whole = preparation.tokens(rows, cutoff_len=WHOLE, packing=False, neat_packing=False)
    empty = {"rows": [], "lengths": [], "trained": None, "dropped": 0, "cut": 0}
    if whole is None:
        return empty, []
    if preparation.stage == "pt" and preparation.data_args.packing:  # joined and split: no row is cut off
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
    """Return the tokens of each row: of a pair, those of its longer side."""
    sides = [name for name in ("input_ids", "chosen_input_ids", "rejected_input_ids") if name in dataset.column_names]
    return [max(map(len, row)) for row in zip(*(dataset[side] for side in sides), strict=True)]


def texts(row: dict, tokenizer) -> dict:
    """Return prompt and answers as they are rendered. Which of their tokens are trained is the method's own."""
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
    """Return how full the packed sequences of all sources are, by its own packing."""
    from llamafactory.data.data_utils import merge_dataset

    every = [rows for rows, _, weight in loaded for _ in range(weight)]
    merged = merge_dataset(every, preparation.data_args, seed=preparation.training_args.seed)
    dataset = preparation.tokens(merged)
    full = [] if dataset is None else [len(ids) for ids in dataset["input_ids"]]
    within = sum(sum(lengths) * weight for _, lengths, weight in loaded)  # sequences of turns are filled with padding
    return {
        "sequences": len(full),
        "tokens": sum(full) if preparation.stage == "pt" else within,
        "room": sum(full),
    }


if __name__ == "__main__":
    main()
