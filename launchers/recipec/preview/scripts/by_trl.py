"""Rows as TRL prepares them: the emitted script's own rows, or the command's data, and SFTTrainer's own preparation.

The trainer is created with a tiny model on the CPU: the rows do not depend on the model's weights.
"""

import ast
import json
import sys
from pathlib import Path

import common

WHOLE = 1 << 30  # tokens: longer than any row


def main() -> None:
    """Answer the request."""
    request = common.read_request()
    if common.load_tokenizer(request) is None:
        return
    answer(request, Path(request["folder"]), Path(request["scratch"]))


def answer(request: dict, folder: Path, scratch: Path) -> None:
    """Write the answer, with the rows as the trainer in this process prepares them."""
    supervised = request["method"] in ("sft", "pretrain")
    if (folder / "train.py").exists():
        sys.path.insert(0, str(folder))
        tokenizer, parts = by_script(request, folder)
        config = arguments(folder / "train.py") if supervised else {}
    else:
        tokenizer, parts, config = by_command(request, folder, scratch)
    prepare = supervised_rows if supervised else preference_rows
    answers = prepare(request, config, tokenizer, parts, scratch)
    common.answer(versions=common.versions(), template=common.template_digest(tokenizer), **answers)


def by_script(request: dict, folder: Path):
    """Return the tokenizer and, for each source, (all rows, kept rows, counts), loaded by the emitted `rows.py`."""
    import datasets
    import rows

    settings = rows.read_settings(folder / "settings.json") | {"streaming": False}
    tokenizer = rows.load_tokenizer(settings)
    pretrain = request["method"] == "pretrain"  # texts are split at the limit, so none is too long
    parts = []
    for source in settings["train"]:
        seen = common.limited(datasets, "load_dataset", request["bound"])
        whole = rows._load(source, settings | ({} if pretrain else {"max_length": WHOLE}), tokenizer)
        kept = whole if pretrain else rows._load(source, settings, tokenizer)
        parts.append((whole, kept, dict(seen)))
    return tokenizer, parts


def by_command(request: dict, folder: Path, scratch: Path):
    """Return the tokenizer, (rows, None, counts) for each source, and the arguments, as the `trl` command reads them."""
    import datasets
    import yaml
    from transformers import AutoTokenizer
    from trl import DatasetMixtureConfig, TrlParser, get_dataset

    config = yaml.safe_load((folder / "trl.yaml").read_text(encoding="utf-8"))
    tokenizer = AutoTokenizer.from_pretrained(
        request["tokenizer"], revision=request["revision"], trust_remote_code=request["trust_remote_code"]
    )
    file = scratch / "datasets.yaml"
    parts = []
    for entry in config["datasets"]:
        file.write_text(yaml.safe_dump({"datasets": [entry]}), encoding="utf-8")
        [mixture] = TrlParser(DatasetMixtureConfig).parse_args_and_config(["--config", str(file)])
        seen = common.limited(datasets, "load_dataset", request["bound"])
        rows = get_dataset(mixture)["train"]
        parts.append((rows, None, dict(seen)))
    return tokenizer, parts, config


def arguments(script: Path) -> dict:
    """Return the arguments that the emitted script passes to SFTConfig, as far as they are literals."""
    for node in ast.walk(ast.parse(script.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "SFTConfig":
            return {word.arg: ast.literal_eval(word.value) for word in node.keywords if literal(word.value)}
    return {}


def literal(node) -> bool:
    """Return whether a syntax node is a literal."""
    return all(
        isinstance(n, ast.Constant | ast.List | ast.Dict | ast.Tuple | ast.Load | ast.USub | ast.UnaryOp)
        for n in ast.walk(node)
    )


def supervised_rows(request: dict, config: dict, tokenizer, parts: list, scratch: Path) -> dict:
    """Return the sources as tokens and labels, and how full packed sequences are, both as SFTTrainer prepares them."""
    limit, packing = request["max_length"], request["packing"]
    sources, every = [], []
    for source, (rows, kept, seen) in zip(request["sources"], parts, strict=True):
        trainer = make_trainer(config, rows, tokenizer, scratch)
        dataset = labelled(trainer)
        lengths, trained = common.token_counts(dataset)
        first = dataset.select(range(min(request["rows"], len(dataset))))
        shown = [
            common.token_row(ids, [int(label != -100) for label in labels], tokenizer)
            for ids, labels in zip(first["input_ids"], first["labels"], strict=True)
        ]
        long = sum(length > limit for length in lengths)
        if kept is None:
            fits = trainer._prepare_dataset(dataset, tokenizer, limited_to(trainer, limit), False, None, "train")
            dropped = len(dataset) - len(fits)
            cut = 0 if config.get("packing_strategy") == "bfd_split" else long - dropped  # split, so nothing is lost
        else:
            dropped, cut = len(dataset) - len(kept), 0
            dataset = labelled(make_trainer(config, kept, tokenizer, scratch)) if dropped and len(kept) else dataset
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


def make_trainer(settings: dict, rows, tokenizer, scratch: Path):
    """Return TRL's trainer with these rows, and with the settings that change rows except for the length limit."""
    from transformers import LlamaConfig, LlamaForCausalLM
    from trl import SFTConfig, SFTTrainer

    names = ("completion_only_loss", "assistant_only_loss", "packing_strategy", "dataset_text_field", "eos_token")
    config = SFTConfig(
        output_dir=str(scratch / "output"),
        report_to="none",
        use_cpu=True,
        bf16=False,
        max_length=None,
        packing=False,
        seed=settings.get("seed", 42),
        shuffle_dataset=False,  # the first rows are shown in the order of the file
        **{name: settings[name] for name in names if name in settings},
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
    """Return the trainer's rows with labels, which TRL 1.9 creates from masks only when it builds a batch."""
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


def preference_rows(request: dict, _config: dict, tokenizer, parts: list, _scratch: Path) -> dict:
    """Return the sources as texts rendered by TRL, prompts and answers. Their trained tokens depend on the method."""
    from trl.data_utils import maybe_apply_chat_template

    names = ("prompt", "chosen", "rejected", "completion")
    sources = []
    for rows, kept, seen in parts:
        lengths, shown = [], []
        for number, row in enumerate(rows):
            tools = json.loads(row["tools"]) if row.get("tools") else None
            told = {name: row[name] for name in names if name in row}
            texts = maybe_apply_chat_template(told, tokenizer, tools=tools)
            sizes = {name: len(tokenizer(text, add_special_tokens=False)["input_ids"]) for name, text in texts.items()}
            answers = [size for name, size in sizes.items() if name != "prompt"]
            lengths.append(sizes["prompt"] + max(answers, default=0))
            if number < request["rows"]:
                shown.append({"texts": texts})
        long = sum(length > request["max_length"] for length in lengths)
        dropped = 0 if kept is None else len(rows) - len(kept)
        cut = long if kept is None and answers else 0  # a prompt without an answer is never cut
        found = {"rows": shown, **seen, "lengths": lengths, "trained": None, "dropped": dropped, "cut": cut}
        sources.append(found)
    return {"sources": sources, "packing": None}


if __name__ == "__main__":
    main()
