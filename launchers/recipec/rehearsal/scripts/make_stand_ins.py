"""Make tiny models with random weights, and copies of rows that only a tool can read: `python make_stand_ins.py JOBS.json`.

Runs in a tool's environment. Each model is made whole or not at all.
"""

import contextlib
import json
import os
import shutil
import sys
from pathlib import Path

CORPUS = (
    "The shop keeps tea in aisle four, bread in aisle two and candles in aisle nine. "
    "How many pencils are in seven boxes of twelve? Reason step by step, then give the final answer. "
    "Explain what a refund is, in one sentence, to a customer whose parcel is three days late. "
    "def add(first, second):\n    return first + second\n"
    "A patient asks how long to rest a sprained ankle; the answer names two days, and ice.\n"
)
SPARE = 64


def make_tokenizer(spec, output):
    """Copy the real tokenizer, or make one of bytes with the real special tokens and template."""
    from transformers import AutoTokenizer

    if "at" in spec:
        source = Path(spec["at"])
        names = ("tokenizer", "vocab", "merges", "special_tokens", "added_tokens", "chat_template", "spiece")
        for file in sorted(source.iterdir()):
            if file.is_file() and file.name.startswith(names):
                shutil.copyfile(file, output / file.name)
        return AutoTokenizer.from_pretrained(output)
    import importlib.util

    from tokenizers import AddedToken, ByteLevelBPETokenizer
    from tokenizers.processors import TemplateProcessing
    from transformers import PreTrainedTokenizerFast

    special, tokens = spec["special"], spec["tokens"]
    bpe = ByteLevelBPETokenizer()
    bpe.train_from_iterator([CORPUS] * 3, vocab_size=600, min_frequency=2, show_progress=False)
    bpe.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in tokens])
    begin = special.get("bos_token")
    if begin is not None:
        bpe._tokenizer.post_processor = TemplateProcessing(
            single=[begin, "$A"], pair=[begin, "$A", "$B"], special_tokens=[(begin, bpe.token_to_id(begin))]
        )
    made = PreTrainedTokenizerFast(tokenizer_object=bpe._tokenizer, model_max_length=10**9, **special)
    made.chat_template = spec["template"]
    for file in spec["templates"]:
        package, _, rest = file.partition("/")
        found = importlib.util.find_spec(package)
        path = Path(found.origin).parent / rest if found is not None and found.origin else None
        if path is not None and path.is_file():
            made.chat_template = path.read_text(encoding="utf-8")
            break
    made.save_pretrained(output)
    return made


def small(config, sizes, vocabulary):
    """Make a configuration small, whatever its words are; what it does not know stays away."""
    hidden = sizes["heads"] * sizes["head"]
    values = {
        "vocab_size": vocabulary,
        "hidden_size": hidden,
        "intermediate_size": sizes["ffn"],
        "moe_intermediate_size": sizes["ffn"],
        "shared_expert_intermediate_size": sizes["ffn"],
        "num_hidden_layers": sizes["layers"],
        "num_attention_heads": sizes["heads"],
        "num_key_value_heads": sizes["kv_heads"],
        "head_dim": sizes["head"],
        "num_local_experts": sizes["experts"],
        "num_experts": sizes["experts"],
        "num_experts_per_tok": sizes["experts_per_token"],
        "max_window_layers": sizes["layers"],
    }
    for name, value in values.items():
        if getattr(config, name, None) is not None:
            setattr(config, name, value)
    if getattr(config, "layer_types", None):
        config.layer_types = config.layer_types[: sizes["layers"]]
    for name in ("quantization_config", "auto_map"):
        if hasattr(config, name):
            delattr(config, name)
    return config


def make_model(spec, output):
    """Make the model and its tokenizer in a folder."""
    from transformers import (
        AutoConfig,
        AutoModelForCausalLM,
        AutoModelForSequenceClassification,
        AutoTokenizer,
        GenerationConfig,
        set_seed,
    )

    tokenizer = make_tokenizer(spec["tokenizer"], output)
    others = [AutoTokenizer.from_pretrained(place) for place in spec["fits"]]
    vocabulary = max(len(one) for one in (tokenizer, *others))
    base = spec["architecture"]
    if "at" in base:
        config = AutoConfig.from_pretrained(base["at"])
        config = getattr(config, "text_config", config)
    else:
        config = AutoConfig.for_model(base["type"], **base["values"])
    real = config.vocab_size if "at" in base and "at" in spec["tokenizer"] else 0
    spare = SPARE if spec["spare"] or real > vocabulary else 0  # rows of the embeddings for which there are no tokens
    config = small(config, spec["sizes"], vocabulary + spare)
    for word in ("bos", "eos", "pad"):
        setattr(config, f"{word}_token_id", getattr(tokenizer, f"{word}_token_id"))
    set_seed(0)
    if spec["scores"]:
        config.num_labels = 1
        if config.pad_token_id is None:
            config.pad_token_id = config.eos_token_id
        model = AutoModelForSequenceClassification.from_config(config)
    else:
        model = AutoModelForCausalLM.from_config(config)
        model.generation_config = GenerationConfig.from_model_config(config)
    model.save_pretrained(output)
    return f"{sum(weight.numel() for weight in model.parameters()):,} parameters, {len(tokenizer)} tokens"


def copy_rows(job):
    """Copy the shortest of the first rows of a file; of one that was made here, write it in another format."""
    from datasets import load_dataset

    suffix = Path(job["from"]).suffix[1:]
    data = load_dataset("json" if suffix == "jsonl" else suffix, data_files=job["from"], split="train")
    data = data.select(range(min(job["among"], len(data))))
    order = sorted(range(len(data)), key=lambda index: len(str(data[index])))[: job["rows"]]
    data.select(sorted(order)).to_parquet(job["to"])


def main():
    """Do what the file of the command line lists."""
    jobs = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    for job in jobs["models"]:
        output = Path(job["output"])
        if output.is_dir():
            continue
        fresh = output.with_name(f".{output.name}.new-{os.getpid()}")
        fresh.mkdir(parents=True)
        said = make_model(job["spec"], fresh)
        with contextlib.suppress(FileExistsError, OSError):  # another rehearsal has made it in the meantime
            fresh.rename(output)
        shutil.rmtree(fresh, ignore_errors=True)
        print(f"{job['name']}: {said}")  # noqa: T201
    for job in jobs["rows"]:
        copy_rows(job)


if __name__ == "__main__":
    main()
