"""Rows as TRL prepares them: the emitted script's own rows, or the command's data, and SFTTrainer's own preparation.

The trainer is made around a model of a few weights on a CPU; what a row becomes does not depend on the weights.
"""

import ast
import sys
from pathlib import Path

import common

WHOLE = 1 << 30  # tokens: longer than any row


def main() -> None:
    """Answer the request."""
    request = common.read_request()
    if common.load_tokenizer(request) is None:
        return
    tell(request, Path(request["folder"]), Path(request["scratch"]))


def tell(request: dict, folder: Path, scratch: Path) -> None:
    """Write the answer, with what the trainer of this process makes of the rows."""
    supervised = request["method"] in ("sft", "pretrain")
    if (folder / "train.py").exists():
        sys.path.insert(0, str(folder))
        tokenizer, parts = by_script(request, folder)
        config = arguments(folder / "train.py") if supervised else {}
    else:
        tokenizer, parts, config = by_command(request, folder, scratch)
    prepare = supervise if supervised else prefer
    answers = prepare(request, config, tokenizer, parts, scratch)
    common.answer(versions=common.versions(), template=common.template_digest(tokenizer), **answers)


def by_script(request: dict, folder: Path):
    """Return the tokenizer, and (rows without a limit, rows that are kept, counts) of each source, by `rows.py`."""
    import datasets
    import rows

    settings = rows.read_settings(folder / "settings.json") | {"streaming": False}
    tokenizer = rows.load_tokenizer(settings)
    pretrain = request["method"] == "pretrain"  # whose texts are split at the limit: none is too long
    parts = []
    for source in settings["train"]:
        seen = common.limited(datasets, "load_dataset", request["bound"])
        whole = rows._load(source, settings | ({} if pretrain else {"max_length": WHOLE}), tokenizer)
        kept = whole if pretrain else rows._load(source, settings, tokenizer)
        parts.append((whole, kept, dict(seen)))
    return tokenizer, parts


def by_command(request: dict, folder: Path, scratch: Path):
    """Return the tokenizer, the rows of each source, and the arguments, as the command reads them."""
    import datasets
    import yaml
    from transformers import AutoTokenizer
    from trl import DatasetMixtureConfig, TrlParser, get_dataset

    said = yaml.safe_load((folder / "trl.yaml").read_text(encoding="utf-8"))
    tokenizer = AutoTokenizer.from_pretrained(
        request["tokenizer"], revision=request["revision"], trust_remote_code=request["trust_remote_code"]
    )
    file = scratch / "datasets.yaml"
    parts = []
    for entry in said["datasets"]:
        file.write_text(yaml.safe_dump({"datasets": [entry]}), encoding="utf-8")
        [mixture] = TrlParser(DatasetMixtureConfig).parse_args_and_config(["--config", str(file)])
        seen = common.limited(datasets, "load_dataset", request["bound"])
        rows = get_dataset(mixture)["train"]
        parts.append((rows, None, dict(seen)))
    return tokenizer, parts, said


def arguments(script: Path) -> dict:
    """Return what the emitted script gives to its configuration, as far as it is written there as a literal."""
    for node in ast.walk(ast.parse(script.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "SFTConfig":
            return {word.arg: ast.literal_eval(word.value) for word in node.keywords if literal(word.value)}
    return {}


def literal(node) -> bool:
    """Return whether a node of a script is a literal."""
    return all(
        isinstance(n, ast.Constant | ast.List | ast.Dict | ast.Tuple | ast.Load | ast.USub | ast.UnaryOp)
        for n in ast.walk(node)
    )


def supervise(request: dict, said: dict, tokenizer, parts: list, scratch: Path) -> dict:
    """Return the sources as tokens and labels of SFTTrainer, and how full its packed sequences are."""
    limit, packing = request["max_length"], request["packing"]
    sources, every = [], []
    for source, (rows, kept, seen) in zip(request["sources"], parts, strict=True):
        trainer = made(said, rows, tokenizer, scratch)
        dataset = labelled(trainer)
        lengths, trained = common.counted(dataset)
        first = dataset.select(range(min(request["rows"], len(dataset))))
        shown = [
            common.token_row(ids, [int(label != -100) for label in labels], tokenizer)
            for ids, labels in zip(first["input_ids"], first["labels"], strict=True)
        ]
        long = sum(length > limit for length in lengths)
        if kept is None:
            fits = trainer._prepare_dataset(dataset, tokenizer, limited_to(trainer, limit), False, None, "train")
            dropped = len(dataset) - len(fits)
            cut = 0 if said.get("packing_strategy") == "bfd_split" else long - dropped  # split, nothing is lost
        else:
            dropped, cut = len(dataset) - len(kept), 0
            dataset = labelled(made(said, kept, tokenizer, scratch)) if dropped and len(kept) else dataset
        found = {"rows": shown, **seen, "lengths": lengths, "trained": trained, "dropped": dropped, "cut": cut}
        sources.append(found)
        every += [dataset] * source["weight"]
    if not packing:
        return {"sources": sources, "packing": None}
    from datasets import concatenate_datasets

    whole = concatenate_datasets([part.select_columns(["input_ids", "labels"]) for part in every])
    full = trainer._prepare_dataset(whole, tokenizer, limited_to(trainer, limit), True, None, "train")
    tokens = sum(len(ids) for ids in full["input_ids"])
    return {
        "sources": sources,
        "packing": {"sequences": len(full), "tokens": tokens, "room": len(full) * limit},
    }


def made(said: dict, rows, tokenizer, scratch: Path):
    """Return TRL's trainer with these rows and the arguments that decide what becomes of them, without a limit."""
    from transformers import LlamaConfig, LlamaForCausalLM
    from trl import SFTConfig, SFTTrainer

    words = ("completion_only_loss", "assistant_only_loss", "packing_strategy", "dataset_text_field", "eos_token")
    config = SFTConfig(
        output_dir=str(scratch / "output"),
        report_to="none",
        use_cpu=True,
        bf16=False,
        max_length=None,
        packing=False,
        seed=said.get("seed", 42),
        shuffle_dataset=False,  # the first rows are shown in their order
        **{word: said[word] for word in words if word in said},
    )
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=8,
            intermediate_size=8,
            num_hidden_layers=1,
            num_attention_heads=1,
            num_key_value_heads=1,
        )
    )
    return SFTTrainer(model=model, args=config, train_dataset=rows, processing_class=tokenizer)


def labelled(trainer):
    """Return the trainer's rows with labels: TRL 1.9 makes them of masks only when it puts rows into a batch."""
    dataset = trainer.train_dataset
    if "labels" in dataset.column_names:
        return dataset

    def labels(row):
        return {"labels": trainer.data_collator([row])["labels"][0].tolist()}

    return dataset.map(labels)


def limited_to(trainer, limit: int):
    """Return the trainer's arguments with the recipe's limit."""
    trainer.args.max_length = limit
    return trainer.args


def prefer(request: dict, _said: dict, tokenizer, parts: list, _scratch: Path) -> dict:
    """Return the sources as texts, rendered by TRL: prompts and answers, whose tokens each trainer weighs its own way."""
    from trl.data_utils import maybe_apply_chat_template

    names = ("prompt", "chosen", "rejected", "completion")
    sources = []
    for rows, kept, seen in parts:
        lengths, shown = [], []
        for number, row in enumerate(rows):
            texts = maybe_apply_chat_template({name: row[name] for name in names if name in row}, tokenizer)
            sizes = {name: len(tokenizer(text, add_special_tokens=False)["input_ids"]) for name, text in texts.items()}
            answers = [size for name, size in sizes.items() if name != "prompt"]
            lengths.append(sizes["prompt"] + max(answers, default=0))
            if number < request["rows"]:
                shown.append({"texts": texts})
        long = sum(length > request["max_length"] for length in lengths)
        dropped = 0 if kept is None else len(rows) - len(kept)
        cut = long if kept is None and answers else 0  # prompts alone are never cut
        found = {"rows": shown, **seen, "lengths": lengths, "trained": None, "dropped": dropped, "cut": cut}
        sources.append(found)
    return {"sources": sources, "packing": None}


if __name__ == "__main__":
    main()
