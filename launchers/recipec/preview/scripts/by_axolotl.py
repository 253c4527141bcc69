"""Rows as Axolotl prepares them: its own configuration, prompt strategies, length filter and packing, on a CPU.

Nothing is reimplemented: Axolotl's functions are called with the emitted file, on a limited number of rows.
"""

from pathlib import Path

import common
import yaml

# settings that fail or are slow without the recipe's GPUs, and do not change the rows
MACHINE = ("deepspeed", "fsdp_version", "fsdp_config", "torch_compile", "load_in_4bit", "load_in_8bit")
OFF = ("bf16", "fp16", "tf32", "use_wandb")


def main() -> None:
    """Answer the request."""
    request = common.read_request()
    if common.load_tokenizer(request) is None or not common.has_configuration(request):
        return
    from axolotl.cli.config import load_cfg
    from axolotl.loaders import load_tokenizer
    from axolotl.utils.dict import DictDefault

    cfg = load_cfg(DictDefault(settings(request)))
    cfg.dataset_num_proc = None  # a pool, even of one, starts a process for every step
    tokenizer = load_tokenizer(cfg)
    read = preferences if cfg.rl else supervised
    entries, position = list(cfg.datasets), 0
    sources, kept = [], []
    for source in request["sources"]:
        rows, dataset = read(cfg, entries[position], tokenizer, request)
        position += source["weight"]  # Axolotl lists a source as often as its weight says
        sources.append(rows)
        kept += [dataset] * source["weight"]
    common.answer(
        versions=common.versions(),
        template=common.template_digest(tokenizer),
        sources=sources,
        packing=packed(cfg, kept) if cfg.sample_packing else None,
    )


def settings(request: dict) -> dict:
    """Return the settings of the emitted file without those for GPUs, with all output in the scratch folder."""
    said = yaml.safe_load(Path(request["file"]).read_text(encoding="utf-8"))
    scratch = Path(request["scratch"])
    kept = {key: value for key, value in said.items() if key not in MACHINE and not key.startswith("liger_")}
    kept["plugins"] = [name for name in said.get("plugins", []) if "liger" not in name]
    own = {"output_dir": str(scratch / "output"), "dataset_prepared_path": str(scratch / "prepared")}
    if said.get("adapter") == "qlora":
        own["adapter"] = "lora"  # qlora needs load_in_4bit, which is removed
    return (
        kept
        | own
        | {"dataset_num_proc": 1, "is_preprocess": True, "shuffle_merged_datasets": False}
        | dict.fromkeys(OFF, False)
    )


def supervised(cfg, entry, tokenizer, request) -> tuple[dict, object]:
    """Return a source as tokens and labels, and the dataset of the rows that are kept."""
    from axolotl.utils.data import sft
    from axolotl.utils.data.utils import handle_long_seq_in_dataset

    seen = common.limited(sft, "load_dataset_with_config", request["bound"])
    dataset, _ = sft._load_and_process_single_dataset(entry, cfg, tokenizer, "train", cfg.seed or 42)
    if "labels" not in dataset.column_names:
        why = f"Axolotl prepares the columns {', '.join(dataset.column_names)} of these rows"
        return {"rows": [], "why": why}, None
    first = dataset.select(range(min(request["rows"], len(dataset))))
    lengths, trained = common.token_counts(dataset)
    kept = handle_long_seq_in_dataset(dataset, cfg.sequence_len, cfg)
    rows = [
        common.token_row(ids, [int(label != -100) for label in labels], tokenizer)
        for ids, labels in zip(first["input_ids"], first["labels"], strict=True)
    ]
    found = {
        "rows": rows,
        "read": seen["read"],
        "more": seen["more"],
        "lengths": lengths,
        "trained": trained,
        "dropped": len(dataset) - len(kept),
        "cut": 0,
    }
    return found, kept


def preferences(cfg, entry, tokenizer, request) -> tuple[dict, object]:
    """Return a source as rendered texts, prompts with answers. Which of their tokens are trained depends on the method."""
    from axolotl.utils.data import rl

    seen = common.limited(rl, "load_dataset_with_config", request["bound"])
    limit, cfg.sequence_len = cfg.sequence_len, 1 << 30  # load all rows; its own filter is applied below
    entries, cfg.datasets = cfg.datasets, [entry]
    dataset = rl._load_split(cfg, "train")
    cfg.datasets, cfg.sequence_len = entries, limit
    sides = [name for name in ("chosen", "rejected", "completion") if name in dataset.column_names]
    texts = dataset.select_columns(["prompt", *sides])

    def tokens(text) -> int:
        return len(tokenizer(text, add_special_tokens=False)["input_ids"]) if isinstance(text, str) else 0

    lengths, dropped, rows = [], 0, []
    for number, row in enumerate(texts):
        if isinstance(row["prompt"], list):  # turns, which TRL's trainer renders
            asked = tokenizer.apply_chat_template(row["prompt"], tokenize=False, add_generation_prompt=True)
            row = {**row, "prompt": asked}
        answers = [tokens(row[side]) for side in sides] or [0]
        lengths.append(tokens(row["prompt"]) + max(answers))
        dropped += limit is not None and not rl._drop_long_sequences(row, cfg.rl, tokenizer, limit)
        if number < request["rows"]:
            rows.append({"texts": {name: row[name] for name in ("prompt", *sides)}})
    found = {
        "rows": rows,
        "read": seen["read"],
        "more": seen["more"],
        "lengths": lengths,
        "trained": None,
        "dropped": dropped,
        "cut": 0,
    }
    return found, None


def packed(cfg, kept: list) -> dict:
    """Return how full the packed sequences of Axolotl's own sampler are."""
    from axolotl.utils.data.sft import merge_datasets
    from axolotl.utils.samplers import MultipackBatchSampler, get_dataset_lengths
    from axolotl.utils.trainer import process_datasets_for_packing
    from torch.utils.data import SequentialSampler

    dataset, _ = process_datasets_for_packing(cfg, merge_datasets(kept, cfg), None)
    sampler = MultipackBatchSampler(
        sampler=SequentialSampler(dataset),
        batch_size=1,
        batch_max_len=cfg.sequence_len,
        lengths=get_dataset_lengths(dataset),
        bin_size=cfg.sample_packing_bin_size,
        group_size=cfg.sample_packing_group_size,
        sequential=cfg.sample_packing_sequentially,
        drop_last=False,
        num_processes=1,
        mp_start_method="fork",
    )
    sequences = sum(len(batch) for batch in sampler.generate_batches())
    tokens = int(sum(get_dataset_lengths(dataset)))
    return {"sequences": sequences, "tokens": tokens, "room": sequences * cfg.sequence_len}


if __name__ == "__main__":
    main()
