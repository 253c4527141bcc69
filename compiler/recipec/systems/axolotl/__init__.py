"""Axolotl 0.17 and 0.19: the training stage as its YAML.

On CPU it needs more than on GPU: `bf16: auto` turns into fp16 there and dies, and its LoRA kernels are Triton. What it
does by default is said where a value keeps it from that: it keeps four checkpoints, warms up over 3% of the steps, and
returns to the best checkpoint.
"""

from __future__ import annotations

from typing import Any, get_args

from recipec.facts import is_between
from recipec.job import Beside, DropStale, DropTorn, Job, Step
from recipec.kinds.train.records import Train
from recipec.language.train import Scheduler
from recipec.source import is_list, is_mapping
from recipec.systems import accelerate, deepspeed, huggingface, on_cpu, rewards, trainers
from recipec.systems.axolotl import adapter, data, loaders, objective, plugins
from recipec.systems.check import Check, differs, refuses
from recipec.systems.document import Sheet, alike
from recipec.systems.huggingface import BASE, base, in_steps, without_steps
from recipec.systems.on_cpu import OnCpu
from recipec.systems.system import OF_TURNS, Need, System
from recipec.systems.table import (
    OMIT,
    Row,
    choice,
    constant,
    flag,
    made,
    named,
    present,
    renamed,
    same,
    share_or_steps,
    where,
    within,
)

TOOL = "axolotl"
FILE = "axolotl.yaml"

OPTIMIZERS = {
    **huggingface.OPTIMIZERS,
    "adamw_4bit": "adamw_torch_4bit",
    "adamw_8bit_torchao": "adamw_torch_8bit",
    "muon": "muon",
}
ALL = 1_000_000  # more checkpoints than any training writes
SPLITS = (trainers.CONTEXT, trainers.TENSOR)
OFFLOAD = ("parallel.parameter_offload", "parallel.optimizer_offload")  # FSDP2 moves both or none


def _tokens(tokens: dict[str, str]) -> Any:
    return {f"{name}_token": token for name, token in tokens.items()} or OMIT


def _tokens_back(tokens: Any) -> dict[str, Any]:
    told: dict[str, Any] = tokens if is_mapping(tokens) else {}
    return {
        "model.special_tokens": {n.removesuffix("_token"): token for n, token in told.items() if n.endswith("_token")}
    }


def _new_tokens(new: tuple[str, ...], special: dict[str, str]) -> Any:
    return [token for token in new if token not in special.values()] or OMIT


def _template(template: str, turns: tuple[bool, ...], method: str) -> Any:
    """Leave out the tokenizer's own template where nothing is rendered by it."""
    if template != "tokenizer":
        return template
    return "tokenizer_default" if method == "reward" or any(turns) else OMIT


def _template_back(name: str) -> dict[str, Any]:
    template = "tokenizer" if name == "tokenizer_default" else name
    return {} if name == "jinja" else {"model.chat_template": template}


def _scheduler(name: str, floor: float) -> Any:
    """Axolotl has no name for a cosine with a floor: it is `cosine` beside a floor."""
    return ("cosine", floor) if name == "cosine_with_min_lr" else (name, OMIT)


def _scheduler_back(name: Any, floor: Any) -> dict[str, Any]:
    if floor is not OMIT:
        return {"optimizer.scheduler": "cosine_with_min_lr", "optimizer.min_lr_ratio": floor}
    return {"optimizer.scheduler": name}


ALIKE = (
    alike("train.epochs, or train.steps", "num_epochs", "max_steps"),
    alike(
        "train.evaluate_every: a number of steps, epoch, or epoch/4", "eval_strategy", "eval_steps", "evals_per_epoch"
    ),
    alike("train.save.every: a number of steps, or epoch", "save_strategy", "save_steps", "saves_per_epoch"),
    alike("train.warmup: a percentage, or a number of steps", "warmup_steps", "warmup_ratio"),
    alike("train.batch_size and train.micro_batch_size", "gradient_accumulation_steps", "batch_size"),
    alike("train.micro_batch_size", "micro_batch_size", "auto_find_batch_size"),
    alike("train.precision", "bf16", "fp16", "bfloat16", "float16"),
    alike("model.load_in", "load_in_4bit", "load_in_8bit"),
    alike("adapter.targets", "lora_target_modules", "lora_target_linear"),
    alike("data.holdout, or data.validation", "val_set_size", "test_datasets"),
    alike("train.min_lr_ratio", "cosine_min_lr_ratio", "lr_scheduler_kwargs.min_lr", "lr_scheduler_kwargs.min_lr_rate"),
)
ROWS: tuple[Row, ...] = (
    same("base_model", "model.path"),
    same("revision_of_model", "model.revision"),
    made(
        "tokenizer_config",
        lambda tokenizer, path: OMIT if tokenizer == path else tokenizer,
        "model.tokenizer",
        "model.path",
        back=lambda tokenizer: {"model.tokenizer": tokenizer},
    ),
    BASE["trust_remote_code"],
    flag("resize_token_embeddings_to_32x", "model.resize_embeddings"),
    made("special_tokens", _tokens, "model.special_tokens", back=_tokens_back),
    made("tokens", _new_tokens, "model.new_tokens", "model.special_tokens", why="markers of the template"),
    made(
        "eot_tokens",
        lambda end: OMIT if end is None else [end],
        "model.turn_end",
        back=lambda ends: {"model.turn_end": ends[0]} if is_list(ends) and len(ends) == 1 else {},
        why="else Axolotl trains no end of a turn but the EOS token",
    ),
    present("chat_template", "model.chat_template_file", "jinja"),
    Row(
        ("chat_template",),
        ("model.chat_template", "data.train.*.turns", "method"),
        _template,
        _template_back,
    ).unless("model.chat_template_file"),
    same("chat_template_jinja", "model.chat_template_file"),
    same("attn_implementation", "model.attention"),
    *adapter.ROWS,
    *objective.ROWS,
    *data.ROWS,
    same("micro_batch_size", "batch.micro"),
    BASE["gradient_accumulation_steps"],
    BASE["num_train_epochs"].called("num_epochs", "max_steps"),
    named("optimizer", "optimizer.name", OPTIMIZERS),
    BASE["learning_rate"],
    Row(
        ("lr_scheduler", "cosine_min_lr_ratio"),
        ("optimizer.scheduler", "optimizer.min_lr_ratio"),
        _scheduler,
        _scheduler_back,
    ),
    *within(
        "lr_scheduler_kwargs",
        same("num_cycles", "optimizer.cycles").when("optimizer.scheduler", "cosine_with_restarts"),
        huggingface.DECAY,
        made(
            "decay_share",
            lambda decay, unit: decay if without_steps(decay, unit) else OMIT,
            "optimizer.decay",
            "length.unit",
            back=lambda share: {} if share is OMIT else {"optimizer.decay": share},
        ).when("optimizer.scheduler", "warmup_stable_decay"),
    ),
    share_or_steps("warmup_ratio", "warmup_steps", "optimizer.warmup").unless("method", "simpo"),
    made("warmup_steps", in_steps, "optimizer.warmup", "length.unit", "length.amount").when("method", "simpo"),
    BASE["weight_decay"],
    same("embedding_lr", "optimizer.embedding_learning_rate"),
    same("neftune_noise_alpha", "optimizer.neftune_alpha"),
    *base("adam_beta1", "adam_beta2", "adam_epsilon", "max_grad_norm", "bf16", "fp16"),
    made("tf32", lambda sm: sm >= 80, "hardware.sm"),
    same("gradient_checkpointing", "numerics.gradient_checkpointing").unless("parallel.strategy", "fsdp2"),
    *huggingface.CHECKPOINTING,
    plugins.ROW,
    *(flag(f"liger_{part}", "numerics.liger_kernel") for part in ("rope", "rms_norm", "glu_activation")),
    flag("liger_fused_linear_cross_entropy", "numerics.liger_kernel").when("method", *data.SUPERVISED),
    BASE["torch_compile"],
    choice("fsdp_version", "parallel.strategy", {"fsdp2": 2}),
    *trainers.where_split(same("dp_shard_size", "batch.data_parallel", "processes that hold sequences of their own")),
    *(renamed(f"{path.partition('.')[2]}_size", path, {1: OMIT}) for path in SPLITS),
    *where(
        "parallel.strategy",
        "fsdp2",
        rows=within(
            "fsdp_config",
            same("reshard_after_forward", "parallel.reshard_after_forward"),
            made(
                "offload_params",
                lambda parameters, optimizer: {parameters, optimizer} == {"cpu"},
                *OFFLOAD,
                back=lambda on: dict.fromkeys(OFFLOAD, "cpu" if on else "none"),
            ),
            constant("auto_wrap_policy", "TRANSFORMER_BASED_WRAP"),
            constant("state_dict_type", "SHARDED_STATE_DICT"),
            constant("final_state_dict_type", "FULL_STATE_DICT"),
            accelerate.frugal("cpu_ram_efficient_loading"),
            same("activation_checkpointing", "numerics.gradient_checkpointing"),
        ),
    ),
    *base("dataloader_num_workers", "dataloader_pin_memory", "save_strategy"),
    renamed("save_total_limit", "watch.save_keep", {"all": ALL}, "Axolotl's default is 4"),
    *base("save_only_model", "eval_strategy"),
    same("early_stopping_patience", "watch.early_stopping").when("method", *data.CAUSAL),
    choice(
        "load_best_model_at_end",
        "watch.early_stopping",
        {None: False},
        other=True,
        why="only for early stopping; by default Axolotl turns it on",
    ).when("method", *data.CAUSAL),
    BASE["logging_steps"],
    choice("use_wandb", "track.wandb_project", {None: False}, other=True),
    same("wandb_project", "track.wandb_project"),
    same("wandb_entity", "track.wandb_entity"),
    same("wandb_name", "track.run_name").when("track.wandb_project"),
    present("use_mlflow", "track.mlflow_uri"),
    same("mlflow_tracking_uri", "track.mlflow_uri"),
    same("mlflow_experiment_name", "track.mlflow_experiment"),
    same("mlflow_run_name", "track.run_name").when("track.mlflow_uri"),
    present("use_trackio", "track.trackio_project"),
    same("trackio_project_name", "track.trackio_project"),
    same("trackio_space_id", "track.trackio_space"),
    same("trackio_run_name", "track.run_name").when("track.trackio_project"),
    flag("use_tensorboard", "track.tensorboard"),
    *base("seed", "output_dir"),
)


def _new_adapter(_seed: int, _method: str, kind: str | None, start: str | None) -> bool:
    return kind is not None and start is None


def _new_head(_seed: int, method: str, kind: str | None, start: str | None) -> bool:
    return method == "reward" and (kind is None or start is not None)


RINGMASTER = "0.21.0"  # the release whose context parallelism is another package's
# utils/schemas/validation.py and liger/args.py; what shards beside them must be FSDP2 (docs/nd_parallelism.qmd)
SPLIT_CHECKS: tuple[Check, ...] = (
    *(
        refuses(
            path,
            "parallel.strategy",
            when=lambda size, strategy: size > 1 and strategy != "fsdp2",
            message=f"Axolotl has {path.partition('.')[2]} beside FSDP2 only",
            advice="set parallel.strategy: fsdp2",
        )
        for path in SPLITS
    ),
    *(
        check.unless(SPLITS[0], 1)
        for check in (
            refuses(
                "method",
                when=lambda method: method not in data.SUPERVISED,
                message=lambda method: (
                    f"Axolotl splits the sequences of {method} without the losses that need them whole"
                ),
                advice="drop context_parallel",
            ),
            trainers.ring("Axolotl").at(until=RINGMASTER),
            # integrations/context_parallel/plugin.py of 0.21: what heads cannot share goes in a ring, whose other kernels
            # have no backward pass
            trainers.ring(
                "Axolotl", "Axolotl's context parallelism trains with Flash Attention 2 whatever the number of heads"
            ).at(since=RINGMASTER),
            refuses(
                "batch.micro",
                "data.packing",
                when=lambda micro, packing: micro > 1 and packing,
                message="Axolotl's ring attention takes one packed row at a time",
                advice="set train.micro_batch_size: 1",
            ).at(until=RINGMASTER),
        )
    ),
    *(
        check.unless(SPLITS[1], 1)
        for check in (
            refuses(
                "optimizer.name",
                when=lambda name: name in ("adamw_8bit", "adamw_paged_8bit"),
                message=lambda name: f"Axolotl has no {name} with tensor parallelism",
                advice="use optimizer: adamw",
            ),
            refuses(
                "numerics.liger_kernel",
                when=bool,
                message="Liger's kernels need whole layers",
                advice="drop liger_kernel, or tensor_parallel",
            ),
            refuses(
                "model.load_in",
                when=lambda load_in: load_in in ("int8", "nf4", "fp4"),
                message=lambda load_in: f"weights in {load_in} cannot be split by heads",
                advice="use load_in: bf16, or drop tensor_parallel",
            ),
        )
    ),
)
CHECKS: tuple[Check, ...] = (
    *SPLIT_CHECKS,
    *adapter.CHECKS,
    *objective.CHECKS,
    *data.CHECKS,
    refuses(
        "model.load_in",
        "method",
        when=lambda load_in, _method: load_in in adapter.QUANTISED,
        message=lambda load_in, method: f"Axolotl does not shard a base in {load_in} with FSDP2 for {method}",
        advice="use zero2, or drop load_in",  # check_fsdp2_base_model_quant_rl of its schema
    )
    .when("parallel.strategy", "fsdp2")
    .when("method", "dpo", "ipo", "orpo", "kto"),
    refuses(  # check_rl_config_gradient_checkpointing of its schema; see `huggingface.reentrant`
        "parallel.strategy",
        "model.load_in",
        "hardware.per_node",
        when=lambda _strategy, load_in, gpus: load_in in ("nf4", "fp4") and gpus > 1,
        message="ZeRO-3 with an adapter needs re-entrant checkpointing, which Axolotl refuses for a 4-bit base in this method",
        advice="use zero2, or gradient_checkpointing: false, or drop load_in",
    )
    .when("parallel.strategy", "zero3")
    .when("method", *objective.RL)
    .when("adapter.type")
    .when("numerics.gradient_checkpointing"),
    refuses(  # check_early_stopping of its schema
        "watch.early_stopping",
        "watch.evaluate_every",
        when=lambda patience, every: patience is not None and every == "epoch",
        message="Axolotl stops early only where validations and checkpoints are counted in steps",
        advice="set evaluate_every in steps, and save.every to a multiple of it",
    ).when("method", *data.CAUSAL),
    refuses(
        "optimizer.name",
        "parallel.strategy",
        when=lambda name, _strategy: name == "muon",
        message="Axolotl's Muon does not run with DeepSpeed",
        advice="use fsdp2 or ddp, or optimizer: adamw",
    ).when("parallel.strategy", *accelerate.ZERO),
    refuses(
        "data.holdout",
        when=bool,
        message="Axolotl cuts no validation rows from streamed data",
        advice="give them by data.validation",
    ).when("data.streaming"),
    refuses(  # check_simpo_warmup of its schema
        "optimizer.warmup",
        "length.unit",
        when=without_steps,
        message="Axolotl's SimPO takes warmup in steps",
        advice="give a number of steps, or train.steps instead of epochs",
    ).when("method", "simpo"),
    refuses(
        "watch.early_stopping",
        "method",
        when=lambda patience, _method: patience is not None,
        message=lambda _patience, method: f"Axolotl does not stop {method} early",
        advice=f"drop it, or use one of {', '.join(data.CAUSAL)}",
    ).unless("method", *data.CAUSAL),
    refuses(  # its trackio.init has no bucket_id, which TrackioCallback of its Transformers passes
        "track.trackio_project",
        when=lambda project: project is not None,
        message="Axolotl 0.19 pins a Trackio that its Transformers cannot call: the training ends at its first step",
        advice="name another release in versions.axolotl, or use wandb or tensorboard",
    ).at(since="0.19.0", until="0.20.0"),
    differs(
        "optimizer.warmup",
        when=lambda warmup: warmup == 1 and not isinstance(warmup, float),
        message="Axolotl warms up over 2 steps where 1 is asked for",
        advice="use 0, or 2",
    ),
    *(
        differs(
            "seed",
            "method",
            "adapter.type",
            "adapter.start_from",
            when=when,
            message=f"Axolotl draws the first weights of {new} before it sets the seed",
            advice="two runs differ from their second step on; trl, llamafactory and unsloth seed it",
            said="other",
        )
        for new, when in (("a new adapter", _new_adapter), ("the head of a reward model", _new_head))
    ),
)


def _sheets(s: Train, _environment: str) -> list[Sheet]:
    files = accelerate.sheets(s, f"{s.trainer}-{s.release}", gathers=True)
    return [Sheet(FILE, ROWS, TOOL, s.release, "config", alike=ALIKE), *files]


# It prepares rows in itself: each pool of processes for a few rows, also one of one, would import everything again.
IN_ITSELF = {"AXOLOTL_DATASET_NUM_PROC": "0"}


def _job(s: Train) -> Job:
    config = Beside(FILE)
    variables = trainers.grouping(s) | (IN_ITSELF if s.hardware.device == "cpu" else {})
    if s.parallel.strategy == "single":
        job = trainers.job(s, "axolotl", "train", config, "--launcher", "python")
    else:
        sharded = ("--deepspeed", Beside(deepspeed.FILE)) if s.parallel.strategy.startswith("zero") else ()
        job = accelerate.job(s, "-m", "axolotl.cli.train", config, *sharded)
    return job.replaced(
        resume="--resume-from-checkpoint=",
        steps=_drop_bad_rows(s),
        imports_emitted=bool(_files(s)),
        variables=variables | ({} if s.track.telemetry else {"AXOLOTL_DO_NOT_TRACK": "1"}),
    )


def _drop_bad_rows(s: Train) -> tuple[Step, ...]:
    """Return the steps that drop prepared rows which Axolotl would take though they are old, or not whole.

    It keys them by the configuration alone, and loads whatever stands in the folder of a key (`load_preprocessed_dataset`).
    Where it was killed while it saved them, datasets has not yet written what `Dataset.save_to_disk` writes last, and no
    run would ever start again.
    """
    if s.data.streaming:
        return ()
    paths = [source.path for source in (*s.data.train, *s.data.validation) if source.path is not None]
    files = dict.fromkeys([*paths, *filter(None, [s.model.chat_template_file])])
    old = "Axolotl caches prepared data by its configuration, not by the rows: delete it if the rows have changed."
    torn = "Axolotl takes prepared data that a kill has left half written: delete it."
    stale = (DropStale(s.data.cache, tuple(files), old),) if paths else ()
    return (*stale, DropTorn(s.data.cache, ("state.json", "dataset_info.json"), torn))


def _files(s: Train) -> dict[str, str]:
    """Return Python beside the configuration: loaders of ours, and the reward functions."""
    own = data.used(s.method, s.data.train, s.data.validation)
    files = {loaders.file(s.method, source): loaders.text(s.method, source) for source in own}
    files |= plugins.files(s)
    return files | ({rewards.FILE: rewards.text(s)} if rewards.functions(s) else {})


def _checks(_s: Train) -> tuple[Check, ...]:
    return CHECKS


def _uses(s: Train) -> tuple[str, ...]:
    """Return what commands, variables and files act on, and what only a check reads."""
    used = ["data.train", "data.validation", "data.streaming", "parallel.strategy", "track.telemetry"]
    used += trainers.grouped(s)
    if not s.data.streaming:
        used += ["data.cache", "model.chat_template_file"]
    if s.parallel.strategy != "single":
        used += ["hardware.nodes"]
    if s.method == "grpo":
        used += ["rewards", "rollout.engine"]
    if s.method == "kto":
        used += ["objective.loss"]
    return tuple(used)


def _need(s: Train) -> Need:
    need = trainers.need(s)
    if s.parallel.context_parallel == 1:
        return need
    if is_between(s.release, RINGMASTER, ""):
        return need.replaced(extras=need.extras | {"ringmaster"})
    return need.replaced(extras=need.extras | {"ring-flash-attn"}) if "flash-attn" in need.extras else need


SYSTEM = System(
    "axolotl",
    kinds=frozenset(["train"]),
    can={
        "method": frozenset(["pretrain", "sft", "reward", *objective.RL]),
        "parallel.strategy": frozenset(["single", "ddp", "fsdp2", "zero1", "zero2", "zero3"]),
        "adapter.type": frozenset(["lora"]),
        "optimizer.name": frozenset(OPTIMIZERS),
        "optimizer.scheduler": frozenset(get_args(Scheduler)),
    },
    sheets=_sheets,
    keeps=frozenset(["activations", "logits"]),
    needs=_need,
    job=_job,
    files=_files,
    checks=_checks,
    uses=_uses,
    on_cpu=OnCpu((*on_cpu.TRAINERS, *adapter.ON_CPU)),
    one_process="Axolotl always starts one process on CPU",
    alternating=frozenset(["gemma", "mistral_v1", "mistral_v2v3", "mistral_v3_tekken"]),
    without_system=frozenset(["gemma"]),
    writing_tools=frozenset(
        [
            "command_a",
            "exaone4",
            "gemma4",
            "jamba",
            "llama4",
            "mistral_v2v3",
            "mistral_v3_tekken",
            "qwen3",
            "qwen3_5",
            "qwen_25",
        ]
    ),
    reads={"chat": OF_TURNS | {"tools", "system"}, "preference": OF_TURNS | {"tools"}, "prompt": OF_TURNS},
)
