"""What contradicts itself in an Axolotl file. Facts: `axolotl/utils/schemas/validation.py` and `peft.py` of 0.17 to 0.21."""

from __future__ import annotations

from collections.abc import Iterator

from recipec.doctor.contract_check import File, fsdp_version, only_fsdp2
from recipec.doctor.rules import Fault, both, number, rule, whole
from recipec.facts.models import known_model

ISOLATING = ("flash", "flex", "xformers", "sage", "sdpa", "eager")
LEGACY = (
    "flash_attention",
    "sdp_attention",
    "flex_attention",
    "xformers_attention",
    "sage_attention",
    "eager_attention",
)
EMBEDDINGS = (
    ("embed_tokens", "lm_head"),
    ("embed_in", "embed_out"),
    ("word_embeddings", "lm_head"),
    ("embeddings", "lm_head"),
)


def _fsdp(file: File, key: str) -> str | None:
    """Return the path under which a key of `fsdp_config` is set, with or without its prefix."""
    return next((path for path in (f"fsdp_config.{key}", f"fsdp_config.fsdp_{key}") if file.get(path)), None)


@rule("D110", "axolotl")
def quantised_without_adapter(file: File) -> Iterator[Fault]:
    """Axolotl refuses to train a quantised model without an adapter."""
    if not file.get("adapter"):
        for key in ("load_in_4bit", "load_in_8bit"):
            if file.get(key) is True:
                yield Fault(
                    key,
                    f"{key} without an adapter: quantised weights cannot be trained",
                    "add `adapter: qlora` (4 bit) or `adapter: lora`, or delete this",
                )


@rule("D111", "axolotl")
def two_quantisations(file: File) -> Iterator[Fault]:
    """transformers refuses to load a model in both 4 and 8 bits."""
    if both(file, "load_in_4bit", "load_in_8bit"):
        yield Fault("load_in_8bit", "load_in_4bit and load_in_8bit are both set", "keep one of them")


@rule("D112", "axolotl")
def qlora_in_other_bits(file: File) -> Iterator[Fault]:
    """Axolotl refuses qlora unless it loads in 4 bits."""
    if file.get("adapter") == "qlora" and not file.get("merge_lora"):
        if file.get("load_in_8bit"):
            yield Fault(
                "load_in_8bit",
                "qlora loads the model in 4 bits, not 8",
                "write `load_in_4bit: true`, or `adapter: lora`",
            )
        elif not file.get("load_in_4bit"):
            yield Fault(
                "adapter",
                "adapter qlora without `load_in_4bit: true`",
                "add `load_in_4bit: true`, or write `adapter: lora`",
            )


@rule("D113", "axolotl")
def two_strategies(file: File) -> Iterator[Fault]:
    """Axolotl's schema accepts DeepSpeed together with `fsdp_config`; accelerate then gets two plugins and uses only one."""
    for key in ("fsdp_config", "fsdp"):
        if both(file, "deepspeed", key):
            yield Fault(key, f"deepspeed and {key} are both set", "keep one of them")


@rule("D137", "axolotl")
def mapping_that_is_opened(file: File) -> Iterator[Fault]:
    """Axolotl opens the file that `deepspeed` names to add these keys, and crashes if it is a mapping."""
    degree = file.get("tensor_parallel_size")
    asked = {"tensor_parallel_size": whole(degree) and degree > 1, "deepcompile": bool(file.get("deepcompile"))}
    for key, wanted in asked.items():
        if wanted and isinstance(file.get("deepspeed"), dict) and file.get("deepspeed"):
            yield Fault(key, f"{key} with a mapping under `deepspeed:`", "write the mapping to a file, and name that")


@rule("D114", "axolotl")
def packing_that_leaks(file: File) -> Iterator[Fault]:
    """Without an attention implementation that separates documents, packed documents attend to each other; Axolotl only warns."""
    if file.get("sample_packing") is not True or file.get("rl"):
        return
    chosen = file.get("attn_implementation")
    if not chosen and any(file.get(key) for key in LEGACY):
        return
    if not chosen and not file.get("gemma4_hybrid_attn_impl"):
        advice = "add `attn_implementation: flash_attention_2` (or flex_attention, sdpa, eager)"
        yield Fault(
            "sample_packing",
            "packing without an attn_implementation: packed documents see each other",
            advice,
            "warning",
        )
    elif isinstance(chosen, str) and not any(name in chosen for name in ISOLATING):
        advice = "take flash_attention_2, flex_attention, sdpa or eager, or turn packing off"
        yield Fault("attn_implementation", f"{chosen} does not keep packed documents apart", advice, "warning")


@rule("D115", "axolotl")
def packing_with_preferences(file: File) -> Iterator[Fault]:
    """Axolotl refuses packing with any `rl`."""
    if both(file, "sample_packing", "rl"):
        yield Fault("sample_packing", f"packing does not go with rl: {file.get('rl')}", "write `sample_packing: false`")


@rule("D116", "axolotl")
def two_warmups(file: File) -> Iterator[Fault]:
    """Axolotl refuses `warmup_steps` together with `warmup_ratio`."""
    if both(file, "warmup_steps", "warmup_ratio"):
        yield Fault("warmup_ratio", "warmup_steps and warmup_ratio are both set", "keep one of them")


@rule("D117", "axolotl")
def two_validations(file: File) -> Iterator[Fault]:
    """Axolotl refuses `val_set_size` together with test data, or with streamed rows."""
    for key in ("test_datasets", "pretraining_dataset", "streaming"):
        if both(file, "val_set_size", key):
            yield Fault("val_set_size", f"val_set_size does not go with {key}", "write `val_set_size: 0`")


@rule("D118", "axolotl")
def two_rhythms(file: File) -> Iterator[Fault]:
    """Axolotl refuses a number of steps together with a number per epoch, or with a strategy other than `steps`."""
    for steps, often, strategy in (
        ("eval_steps", "evals_per_epoch", "eval_strategy"),
        ("save_steps", "saves_per_epoch", "save_strategy"),
    ):
        if both(file, steps, often):
            yield Fault(often, f"{steps} and {often} are both set", "keep one of them")
        elif both(file, steps, strategy) and file.get(strategy) != "steps":
            yield Fault(
                strategy,
                f"{strategy} {file.get(strategy)} does not go with {steps}",
                f"write `{strategy}: steps`, or delete {steps}",
            )


@rule("D119", "axolotl")
def nothing_to_evaluate(file: File) -> Iterator[Fault]:
    """Axolotl refuses `eval_steps` without validation data."""
    if file.values.get("val_set_size") == 0 and not file.get("test_datasets") and file.get("eval_strategy") != "no":
        for key in ("eval_steps", "eval_strategy"):
            if file.get(key):
                yield Fault(
                    key,
                    f"{key} without rows to evaluate on: val_set_size is 0",
                    "hold rows out, give `test_datasets`, or delete this",
                )
                return


@rule("D120", "axolotl")
def two_batches(file: File) -> Iterator[Fault]:
    """Axolotl refuses `batch_size` together with `gradient_accumulation_steps`, which follows from it."""
    if both(file, "gradient_accumulation_steps", "batch_size"):
        yield Fault(
            "batch_size",
            "batch_size and gradient_accumulation_steps are both set",
            "delete batch_size: it is micro_batch_size × gradient_accumulation_steps",
        )


@rule("D121", "axolotl")
def kto_columns(file: File) -> Iterator[Fault]:
    """Axolotl refuses KTO unless `remove_unused_columns` is false."""
    if file.get("rl") == "kto" and file.values.get("remove_unused_columns") is not False:
        path = "remove_unused_columns" if "remove_unused_columns" in file.values else "rl"
        yield Fault(path, "KTO needs its columns kept", "write `remove_unused_columns: false`")


@rule("D122", "axolotl")
def early_stopping(file: File) -> Iterator[Fault]:
    """Axolotl refuses early stopping unless every checkpoint follows an evaluation."""
    if not file.get("early_stopping_patience"):
        return
    save, evaluate = file.get("save_steps"), file.get("eval_steps")
    if not save or not evaluate:
        yield Fault(
            "early_stopping_patience",
            "early stopping needs save_steps and eval_steps",
            "set both, eval_steps a divisor of save_steps",
        )
    elif number(save) and number(evaluate) and save % evaluate:
        yield Fault(
            "save_steps",
            f"save_steps {save} is not a multiple of eval_steps {evaluate}",
            "early stopping needs it to be one",
        )


@rule("D123", "axolotl")
def optimizer_that_cannot_shard(file: File) -> Iterator[Fault]:
    """Axolotl refuses bitsandbytes' 8-bit AdamW under FSDP2, and 8-bit optimisers under FSDP1 with offload."""
    name = file.get("optimizer")
    if not file.get("fsdp_config") or not isinstance(name, str) or "8bit" not in name:
        return
    if fsdp_version(file) == 2 and name in ("adamw_8bit", "adamw_bnb_8bit"):
        yield Fault("optimizer", f"{name} does not work with FSDP2", "write `optimizer: adamw_torch_8bit`")
    elif fsdp_version(file) == 1 and _fsdp(file, "offload_params"):
        yield Fault(
            "optimizer",
            f"{name} does not work with FSDP's offload",
            "write `optimizer: adamw_torch_fused`, or do not offload",
        )


@rule("D124", "axolotl")
def loading_four_bits_on_one_rank(file: File) -> Iterator[Fault]:
    """Axolotl refuses this combination since 0.19: the other ranks would wait for sizes that never match.

    Since 0.21 it loads QLoRA's weights in another way, unless it is told not to.
    """
    path = _fsdp(file, "cpu_ram_efficient_loading")
    staged = file.get("qlora_sharded_model_loading", file.get("adapter") == "qlora")
    if staged and only_fsdp2(file):
        return
    if path and file.get("load_in_4bit") and fsdp_version(file) == 2 and file.guess.release != "0.17.0":
        yield Fault(
            path, "FSDP2 cannot load 4-bit weights on one rank only", "write `cpu_ram_efficient_loading: false`"
        )


@rule("D125", "axolotl")
def endless_without_steps(file: File) -> Iterator[Fault]:
    """Axolotl refuses streamed pre-training without `max_steps`."""
    if file.get("pretraining_dataset") and not file.get("max_steps"):
        yield Fault("pretraining_dataset", "a streamed pretraining_dataset has no length", "add `max_steps`")


@rule("D126", "axolotl")
def no_rows(file: File) -> Iterator[Fault]:
    """Axolotl refuses a file without datasets."""
    if not file.get("datasets") and not file.get("pretraining_dataset"):
        path = "datasets" if "datasets" in file.values else ""
        yield Fault(
            path, "there is nothing to train on: neither datasets nor pretraining_dataset", "name rows in `datasets:`"
        )


@rule("D127", "axolotl")
def two_attentions(file: File) -> Iterator[Fault]:
    """Axolotl 0.19 refuses an old attention flag together with `attn_implementation`."""
    if file.get("attn_implementation") and file.guess.release != "0.17.0":
        for key in LEGACY:
            if file.get(key):
                yield Fault(key, f"{key} and attn_implementation are both set", f"delete {key}")


@rule("D128", "axolotl")
def template_without_text(file: File) -> Iterator[Fault]:
    """Axolotl refuses `chat_template: jinja` without the text of the template."""
    if file.get("chat_template") == "jinja" and not file.get("chat_template_jinja"):
        yield Fault(
            "chat_template",
            "chat_template jinja without chat_template_jinja",
            "write the template, or its file, in `chat_template_jinja`",
        )


@rule("D129", "axolotl")
def untrained_tokens(file: File) -> Iterator[Fault]:
    """Axolotl refuses, when it loads the model, new tokens whose embeddings the adapter does not train."""
    if file.get("tokens") and file.get("adapter") and not _trains_embeddings(file):
        advice = "add `lora_modules_to_save: [embed_tokens, lm_head]`, or take special tokens that the model has"
        yield Fault("tokens", "new tokens, but the adapter does not train their embeddings", advice)


@rule("D138", "axolotl")
def untrained_special_tokens(file: File) -> Iterator[Fault]:
    """Axolotl refuses special tokens that are new to the model, but adds `additional_special_tokens` without a message."""
    special, model = file.get("special_tokens"), file.get("base_model")
    if not isinstance(special, dict) or not file.get("adapter") or _trains_embeddings(file):
        return
    known = (
        known_model(model, folders=False)
        if isinstance(model, str) and file.get("tokenizer_config") in (None, model)
        else None
    )
    if known is None or not known.tokens:
        return
    for name, token in special.items():
        for one in token if isinstance(token, list) else [token]:
            if isinstance(one, str) and one not in known.tokens and name != "pad_token":  # a pad token is never read
                refused = one.startswith("<|") and name != "additional_special_tokens"  # a shorter one may slip through
                message = f"{one} is new to {known.id}, and the adapter does not train its embedding"
                advice = "add `lora_modules_to_save: [embed_tokens, lm_head]`, or take a token that the model has"
                yield Fault(f"special_tokens.{name}", message, advice, "error" if refused else "warning")


def _trains_embeddings(file: File) -> bool:
    """Return whether both embeddings are trained whole, as the model's family calls them."""
    saved = file.get("lora_modules_to_save")
    return isinstance(saved, list) and any(all(name in saved for name in pair) for pair in EMBEDDINGS)


@rule("D130", "axolotl")
def adapter_settings_without_adapter(file: File) -> Iterator[Fault]:
    """Without `adapter`, nothing reads `lora_r` and similar keys: the whole model is trained."""
    if not file.get("adapter"):
        for key in ("lora_r", "lora_target_modules", "lora_target_linear"):
            if file.get(key):
                yield Fault(
                    key,
                    f"{key} has no effect: there is no adapter, and the whole model is trained",
                    "add `adapter: lora`, or delete it",
                    "warning",
                )
                return


@rule("D131", "axolotl")
def rate_that_is_no_number(file: File) -> Iterator[Fault]:
    """`learning_rate` may be text; Axolotl crashes if it is not a number."""
    rate = file.get("learning_rate")
    if isinstance(rate, str):
        try:
            float(rate)
        except ValueError:
            yield Fault("learning_rate", f'learning_rate "{rate}" is no number', "write it as 2e-4")


@rule("D132", "axolotl")
def best_of_what(file: File) -> Iterator[Fault]:
    """Axolotl refuses `save_strategy: best` without `metric_for_best_model`."""
    if file.get("save_strategy") == "best" and not file.get("metric_for_best_model"):
        yield Fault(
            "save_strategy",
            "save_strategy best without metric_for_best_model",
            "name the metric, as `metric_for_best_model: eval_loss`",
        )


@rule("D133", "axolotl")
def too_few_generations(file: File) -> Iterator[Fault]:
    """GRPO compares the completions of one prompt: Axolotl refuses fewer than two."""
    answers = file.get("trl.num_generations")
    if file.get("rl") == "grpo" and number(answers) and answers < 2:
        yield Fault("trl.num_generations", "GRPO compares answers to one prompt, and there is one", "write 2 or more")


@rule("D134", "axolotl")
def nothing_by_default(file: File) -> Iterator[Fault]:
    """Axolotl has no default for these two keys, and refuses a file without them."""
    for key in ("base_model", "learning_rate"):
        if file.get(key) is None:
            yield Fault(
                key if key in file.values else "", f"there is no {key}", f"add `{key}`: Axolotl has no default of it"
            )


@rule("D135", "axolotl")
def answers_that_fill_no_batch(file: File) -> Iterator[Fault]:
    """Axolotl refuses GRPO with a batch that is not a multiple of `num_generations`."""
    answers = file.get("trl.num_generations")
    if file.get("rl") != "grpo" or not whole(answers) or answers < 2:
        return
    batch = file.get("trl.generation_batch_size")
    micro, steps = file.get("micro_batch_size", 1), file.get("gradient_accumulation_steps", 1)
    if batch is None and whole(micro) and whole(steps):
        batch = micro * steps
    if whole(batch) and batch % answers:
        message = f"a batch of {batch} is not a multiple of num_generations {answers}"
        yield Fault(
            "trl.num_generations",
            message,
            "it is micro_batch_size × gradient_accumulation_steps, or trl.generation_batch_size",
        )


@rule("D176", "axolotl")
def adapter_that_is_not_loaded(file: File) -> Iterator[Fault]:
    """Under `rl: dpo`, ipo or kto Axolotl reads no more of `lora_model_dir` than its configuration: a new adapter is trained."""
    if file.get("rl") in ("dpo", "ipo", "kto") and both(file, "adapter", "lora_model_dir"):
        message = f"rl {file.get('rl')} begins with a new adapter: the one in lora_model_dir is not loaded"
        yield Fault("lora_model_dir", message, "merge it into the base first (`axolotl merge-lora`), and delete this")


@rule("D179", "axolotl")
def hollow_reference(file: File) -> Iterator[Fault]:
    """PiSSA and OLoRA take a part of the weights out of the base, which DPO, IPO and KTO compare with."""
    init = str(file.get("peft_init_lora_weights") or "")
    moved = file.get("adapter") and (init == "olora" or init.startswith("pissa"))
    if moved and file.get("rl") in ("dpo", "ipo", "kto"):
        message = f"rl {file.get('rl')} compares with the base, of which {init} takes a part away"
        yield Fault("peft_init_lora_weights", message, "delete it")
