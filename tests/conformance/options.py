"""The options of the language that are laid beside one another: for each word the values that mean different things.

An option is one value of one factor. `says` are recipe paths with what stands there; `needs` are further paths that it
makes no sense without, laid below everything that other options say.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, get_args

from recipec.kinds.train.methods import METHODS
from recipec.language.model import AdapterType
from recipec.language.train import Optimizer, Scheduler
from recipec.systems.registry import system

Paths = Mapping[str, Any]


class Option(NamedTuple):
    """One value of a factor."""

    factor: str
    index: int
    says: Paths
    needs: Paths


ONLINE = tuple(name for name, method in METHODS.items() if method.online)
# what rows there may be for a method; the factor `rows` takes them in turns
_CHAT = {"path": "data/chat.jsonl", "format": "chat"}
_PAIRS = {"path": "data/pairs.jsonl", "format": "preference"}
_TOLD = {**_PAIRS, "columns": {"prompt": "prompt"}}
_PROMPT = {"path": "data/prompts.jsonl", "format": "prompt", "columns": {"answer": "answer"}}
_LABELLED = {"path": "data/labelled.jsonl", "format": "unpaired-preference"}
_TEXT = {"path": "data/text.jsonl", "format": "text"}
ROWS: dict[str, tuple[list[dict[str, Any]], ...]] = {
    "pretrain": (
        [_TEXT],
        [{"hub": "org/text", "format": "text", "columns": {"text": "body"}}],
        [_TEXT, {**_TEXT, "path": "data/more.parquet"}],
    ),
    "sft": (
        [_CHAT],
        [{"hub": "org/chat", "format": "chat", "columns": {"messages": "turns", "role": "from", "content": "value"}, "roles": {"user": ["human"], "assistant": ["gpt"]}}],
        [{"path": "data/instructions.json", "format": "instruction"}],
        [{"path": "data/completions.csv", "format": "completion"}],
        [_CHAT, {**_CHAT, "path": "data/more.jsonl", "weight": 3}],
    ),
    "kto": ([_LABELLED], [{"hub": "org/labelled", "format": "unpaired-preference", "columns": {"completion": "answer"}}]),
    **dict.fromkeys(ONLINE, ([_PROMPT], [{**_PROMPT, "columns": {"prompt": "question", "answer": "solution"}}])),
}  # fmt: skip
PREFERENCES: tuple[list[dict[str, Any]], ...] = (
    [_TOLD],
    [_PAIRS],
    [{"hub": "org/pairs", "format": "preference", "columns": {"prompt": "question"}}],
)
_MODEL_REWARD = [{"type": "model", "path": "org/judge.v1"}]
REWARDS: tuple[list[dict[str, Any]], ...] = (
    [{"type": "exact"}, {"type": "length", "max_words": 50, "weight": 0.5}],
    [{"type": "regex", "pattern": "<a>.*</a>"}, {"type": "language", "language": "ko"}],
    [{"type": "remote", "url": "http://judge:5000/score"}],
    _MODEL_REWARD,
)
ADAPTER = {"adapter.rank": 16}
SEVERAL = {"hardware.per_node": 4}
HELD = {"data.holdout": "5%"}


def rows(method: str) -> tuple[list[dict[str, Any]], ...]:
    """Return the sources that may feed a method."""
    return ROWS.get(method, PREFERENCES)


def base(trainer: str) -> dict[str, Any]:
    """Return what every recipe for a trainer starts from."""
    single = "single" in system(trainer).can["parallel.strategy"]
    return {
        "recipe": 1,
        "name": "pair",
        "trainer": trainer,
        "model.base": "meta-llama/Llama-3.2-1B-Instruct",
        "model.max_length": 1024,
        "train.method": "sft",
        "train.learning_rate": 1e-5,
        "train.micro_batch_size": 2,
        "hardware.gpu": "h100-80gb",
        **({} if single else {"parallel.strategy": "zero2"}),
    }


def _methods(trainer: str) -> list[tuple[Paths, Paths]]:
    found: list[tuple[Paths, Paths]] = []
    for name in METHODS:
        if name in system(trainer).can["method"] and name != "sft":
            needs: dict[str, Any] = {"data.packing": True} if name == "pretrain" else {}
            if name in ONLINE:
                vllm = trainer == "openrlhf"
                needs = {"rewards": REWARDS[2 if vllm else 0], "train.micro_batch_size": 8, "train.batch_size": 64}
                needs |= {"rollout.engine": "vllm"} if vllm else {}
            found.append(({"train.method": name}, needs))
    return found


def _each(path: str, *values: Any, **needs: Any) -> list[tuple[Paths, Paths]]:
    wanted = {name.replace("__", "."): value for name, value in needs.items()}
    return [({path: value}, wanted) for value in values]


def _of(path: str, method: str, *values: Any, **more: Any) -> list[tuple[Paths, Paths]]:
    return _each(path, *values, train__method=method, **more)


def _strategies() -> list[tuple[Paths, Paths]]:
    sharded = ("ddp", "fsdp2", "zero1", "zero2", "zero3")
    return [({"parallel.strategy": "single"}, {}), *(({"parallel.strategy": one}, SEVERAL) for one in sharded)]


def _factors(trainer: str) -> dict[str, list[tuple[Paths, Paths]]]:
    can = system(trainer).can["method"]
    online = next((name for name in ("grpo", "rloo", "ppo") if name in can), None)
    quantised = [({"model.load_in": one}, ADAPTER) for one in ("int8", "nf4", "fp4")]
    found = {
        "method": _methods(trainer),
        "rows": [({"rows": index}, {}) for index in range(1, 5)],
        "gpu": _each("hardware.gpu", "a100-80gb", "rtx-4090", "t4", "none"),
        "processes": [({"hardware.per_node": 4}, {}), ({"hardware.per_node": 8, "hardware.nodes": 2}, {})],
        "strategy": _strategies(),
        "offload": [
            ({"parallel.offload.optimizer": "cpu"}, {"parallel.strategy": "zero2", **SEVERAL}),
            (
                {"parallel.offload.optimizer": "cpu", "parallel.offload.parameters": "cpu"},
                {"parallel.strategy": "zero3", **SEVERAL},
            ),
            (
                {"parallel.offload.optimizer": "nvme", "parallel.offload.nvme_path": "/nvme"},
                {"parallel.strategy": "zero3", **SEVERAL},
            ),
        ],
        "reshard": _each("parallel.reshard_after_forward", False, parallel__strategy="fsdp2", hardware__per_node=4),
        "bucket": _each("parallel.bucket_size", 100_000_000, parallel__strategy="zero2", hardware__per_node=4),
        "load_in": [*_each("model.load_in", "bf16", "fp16", "fp32"), *quantised],
        "double_quant": [({"model.double_quant": one}, {"model.load_in": "nf4", **ADAPTER}) for one in (False, True)],
        "attention": _each("model.attention", "eager", "sdpa", "flash_attention_2", "flex_attention"),
        "tokenizer": _each("model.tokenizer", "org/tokens"),
        "template": _each("model.chat_template", "tokenizer", "chatml", "llama3", "gemma", "qwen3", "alpaca"),
        "special_tokens": _each("model.special_tokens", {"pad": "<|finetune_right_pad_id|>"}),
        "remote_code": _each("model.trust_remote_code", True),
        "resize": _each("model.resize_embeddings", True),
        "max_length": _each("model.max_length", 4096),
        "adapter": [(ADAPTER, {}), *_each("adapter.type", *(one for one in get_args(AdapterType) if one != "lora"))],
        "alpha": _each("adapter.alpha", 8.0),
        "dropout": _each("adapter.dropout", 0.05, adapter__rank=16),
        "targets": [
            ({"adapter.targets": ["q_proj", "v_proj"]}, ADAPTER),
            ({"adapter.target_pattern": r".*\.[qv]_proj"}, ADAPTER),
        ],
        "also_train": _each("adapter.also_train", ["lm_head"], adapter__rank=16),
        "dora": _each("adapter.dora", True, adapter__rank=16),
        "rslora": _each("adapter.rslora", True, adapter__rank=16),
        "init": _each("adapter.init", "gaussian", "pissa", "loftq", "olora", adapter__rank=16),
        "lora_plus": _each("adapter.lora_plus_ratio", 16.0, adapter__rank=16),
        "peft_options": _each("adapter.options", {"layers_to_transform": [0, 1]}, adapter__rank=16),
        "start_from": _each("adapter.start_from", "org/adapter", adapter__rank=16),
        "merge": _each("adapter.merge", True, adapter__rank=16),
        "packing": _each("data.packing", True),
        "train_on": _each("data.train_on", "all"),
        "shuffle": _each("data.shuffle", False),
        "group_by_length": _each("data.group_by_length", True),
        "workers": _each("data.workers", 0, 2),
        "streaming": _of("data.streaming", "pretrain", True, train__steps=100),
        "validation": [(HELD, {}), ({"data.holdout": 100}, {}), ({"validated": True}, {})],
        "length": [({"train.epochs": 2.0}, {}), ({"train.steps": 100}, {})],
        "batch": [({"train.batch_size": 128}, {}), ({"train.gradient_accumulation": 4}, {})],
        "optimizer": _each("train.optimizer", *(one for one in get_args(Optimizer) if one != "adamw")),
        "weight_decay": _each("train.weight_decay", 0.1),
        "beta1": _each("train.beta1", 0.95),
        "beta2": _each("train.beta2", 0.95),
        "epsilon": _each("train.epsilon", 1e-6),
        "clipping": _each("train.max_grad_norm", 0.0, 0.3),
        "scheduler": [
            (
                {"train.scheduler": one},
                {
                    "cosine_with_min_lr": {"train.min_lr_ratio": 0.1},
                    "warmup_stable_decay": {"train.decay": 10, "train.steps": 100},
                }.get(one, {}),
            )
            for one in get_args(Scheduler)
            if one != "cosine"
        ],
        "cycles": _each("train.cycles", 3, train__scheduler="cosine_with_restarts"),
        "decay": _each("train.decay", "10%", train__scheduler="warmup_stable_decay"),
        "warmup": _each("train.warmup", "3%", 10),
        "embedding_rate": _each("train.embedding_learning_rate", 1e-6),
        "neftune": _each("train.neftune_alpha", 5.0),
        "early_stopping": [({"train.early_stopping": 3}, {**HELD, "train.evaluate_every": 50, "train.save.every": 50})],
        "precision": _each("train.precision", "bf16", "fp16", "fp32"),
        "checkpointing": _each("train.gradient_checkpointing", True, False),
        "liger": _each("train.liger_kernel", True),
        "torch_compile": _each("train.torch_compile", True),
        "beta": _each("train.beta", 0.05, train__method="dpo" if "dpo" in can else online),
        "loss": [
            option
            for name in ("dpo", "kto", "grpo", "ppo")
            if name in can
            for option in _of("train.loss", name, *METHODS[name].losses[1:])
        ],
        "label_smoothing": _of("train.label_smoothing", "dpo", 0.1) if "dpo" in can else [],
        "margin": _of("train.margin", "simpo", 0.5) if "simpo" in can else [],
        "sft_weight": _of("train.sft_weight", "dpo", 0.5) if "dpo" in can else [],
        "kto_weights": _of("train.desirable_weight", "kto", 1.5) if "kto" in can else [],
        "save": _each("train.save.every", 50, "epoch"),
        "keep": _each("train.save.keep", 2),
        "only_model": _each("train.save.only_model", True),
        "evaluate": [({"train.evaluate_every": one}, HELD) for one in (50, "epoch", "never")],
        "log": _each("train.log_every", 10),
        "seed": _each("seed", 7),
        "track": [
            ({"track.wandb.project": "p", "track.wandb.entity": "e"}, {}),
            ({"track.mlflow.tracking_uri": "http://m:5000", "track.mlflow.experiment": "e"}, {}),
            ({"track.trackio.project": "p"}, {}),
            ({"track.tensorboard": True}, {}),
        ],
    }
    if online is not None:
        found |= {
            "rewards": [({"rewards": one}, {"train.method": online}) for one in REWARDS],
            "completions": _of("rollout.completions", online, 4),
            "new_tokens": _of("rollout.max_new_tokens", online, 128),
            "sampling": _of("rollout.temperature", online, 0.7) + _of("rollout.top_p", online, 0.9),
            "iterations": _of("rollout.iterations", online, 2),
            "clip": _of("rollout.clip", online, 0.1) + _of("rollout.clip_high", online, 0.28),
            "scale": _of("rollout.scale_rewards", online, "group", "batch", "none"),
            "mask_truncated": _of("rollout.mask_truncated", online, True),
            "engine": [
                *_of("rollout.engine", online, "vllm", "hf"),
                (
                    {"rollout.engine": "vllm", "rollout.engines": 2},
                    {"train.method": online, "hardware.per_node": 4, "parallel.strategy": "zero2"},
                ),
                (
                    {"rollout.engine": "vllm", "rollout.engines": 2, "rollout.tensor_parallel": 2},
                    {"train.method": online, "hardware.per_node": 8, "parallel.strategy": "zero3"},
                ),
            ],
            "gpu_share": _of("rollout.gpu_memory_share", online, 0.5, rollout__engine="vllm"),
        }
    if "ppo" in can:
        found["critic"] = _of("rollout.critic_learning_rate", "ppo", 1e-6) + _of("rollout.gae_lambda", "ppo", 0.9)
    return found


def options(trainer: str) -> list[Option]:
    """Return every option that is tried with a trainer."""
    made = _factors(trainer)
    return [Option(name, n, says, needs) for name, values in made.items() for n, (says, needs) in enumerate(values)]


def recipe(trainer: str, chosen: list[Option]) -> dict[str, Any]:
    """Return the recipe that says these options, as nested values."""
    flat: dict[str, Any] = {}
    for option in chosen:  # what one needs is laid over the base, below what any says
        for path, value in option.needs.items():
            flat.setdefault(path, value)
    for option in list(chosen):
        flat |= option.says
    method = flat.get("train.method", "sft")
    implied = next((needs for says, needs in _methods(trainer) if says["train.method"] == method), {})
    flat = base(trainer) | dict(implied) | flat
    kinds = rows(method)
    sources = kinds[flat.pop("rows", 0) % len(kinds)]
    flat["data.train"] = sources
    if flat.pop("validated", False):
        flat["data.validation"] = [{**{k: v for k, v in sources[0].items() if k != "weight"}, "split": "test"}]
    nested: dict[str, Any] = {}
    for path, value in flat.items():
        *above, last = path.split(".")
        place = nested
        for step in above:
            place = place.setdefault(step, {})
        place[last] = value
    return nested
