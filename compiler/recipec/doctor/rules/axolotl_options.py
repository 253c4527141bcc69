"""What Axolotl refuses when it starts: options of adapters, memory, rows and tokens that need, or exclude, each other.

Facts: `axolotl/utils/schemas/validation.py`, `config.py`, `peft.py` and `datasets.py` of 0.17 and 0.19.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from recipec.doctor.contract_check import File
from recipec.doctor.rules import Fault, both, number, rule
from recipec.doctor.rules.axolotl_start import (
    KERNELS,
    NEW,
    attention,
    clash,
    needs,
    quantised,
    refuse,
    shards,
    tell,
    when,
)

VARLEN = (
    "flash_attention_2",
    "flash_attention_3",
    "flash_attention_4",
    "flash_attention_torch",
    "flex_attention",
    "xformers",
    "sage",
)
VARLEN_HUB = ("kernels-community/flash-attn2", "kernels-community/flash-attn3", "kernels-community/sage-attention")
LOSSES = ("cut_cross_entropy", "chunked_cross_entropy", "liger_cross_entropy", "liger_fused_linear_cross_entropy")
INDUCTOR = (
    "coordinate_descent_tuning", "coordinate_descent_check_all_directions", "shape_padding", "epilogue_fusion", "max_autotune_gemm",
    "fx_graph_cache", "assume_aligned_inputs", "comprehensive_padding", "decompose_mem_bound_mm", "triton.cudagraphs",
)  # fmt: skip
METRICS = ("sacrebleu", "comet", "ter", "chrf", "perplexity")
MATMULS = ("aten::mm", "aten::addmm", "aten::matmul", "aten::bmm")


def _bad_patterns(file: File) -> str | None:
    names = file.get("lora_target_modules")
    for index, name in enumerate(names if isinstance(names, list) else ()):
        try:
            re.compile(name if isinstance(name, str) else "")
        except re.error:
            return f"lora_target_modules.{index}"
    return None


def _low_rank(file: File) -> bool:
    return file.get("adapter") in ("lora", "qlora")


ADAPTERS = (
    clash("lr_groups", "loraplus_lr_ratio"),
    refuse(
        when("unfrozen_parameters", lambda file: both(file, "adapter", "peft_layers_to_transform")),
        "unfrozen_parameters and peft_layers_to_transform are both set",
        "keep one of them",
    ),
    needs("peft_layers_pattern", "peft_layers_to_transform", "add peft_layers_to_transform, or delete it"),
    refuse(when("flash_attn_fuse_mlp", _low_rank), "fused modules do not go with LoRA", "delete flash_attn_fuse_mlp"),
    refuse(when("use_onebitllms", _low_rank), "use_onebitllms does not go with LoRA", "delete adapter or use_onebitllms"),
    refuse(
        lambda file: next((key for key in KERNELS if file.get(key)), None) if file.get("adapter") == "lora" and file.get("load_in_8bit") else None,
        "{key} does not go with LoRA on a base model in 8 bits",
        "write `{key}: false`, or load in 4 bits",
    ),
    refuse(
        lambda file: next((key for key in KERNELS if file.get(key)), None) if file.get("trust_remote_code") else None,
        "{key} does not go with trust_remote_code",
        "write `{key}: false`",
    ),
    refuse(when("lora_dropout", lambda file: file.get("lora_target_parameters")), "lora_target_parameters does not go with dropout", "write `lora_dropout: 0`"),
    refuse(_bad_patterns, "this is no regular expression that Python can read", "close its brackets, or write the module's plain name"),
    refuse(when("gptq", lambda file: file.get("adapter") == "qlora"), "qlora does not go with gptq", "write `adapter: lora`"),
    refuse(
        lambda file: quantised(file) if file.get("adapter") == "qlora" and file.get("merge_lora") else None,
        "an adapter is not merged into a base model in {bits}",
        "delete {bits}",
    ),
    refuse(when("quantize_moe_experts", lambda file: file.get("lora_target_linear")), "quantize_moe_experts does not go with lora_target_linear", "name the experts' weights in lora_target_parameters"),
    refuse(when("quantize_moe_experts", lambda file: not _low_rank(file)), "quantize_moe_experts without an adapter", "add `adapter: lora` or qlora"),
    refuse(when("quantize_moe_experts", lambda file: not quantised(file)), "quantize_moe_experts without load_in_4bit or load_in_8bit", "add one of them"),
    refuse(when("relora", lambda file: not file.get("jagged_restart_steps")), "relora without jagged_restart_steps", "add jagged_restart_steps"),
    refuse(when("relora", lambda file: not file.get("adapter")), "relora without an adapter", "add `adapter: lora`"),
    refuse(when("relora", lambda file: shards(file) or file.get("deepspeed")), "relora does not go with FSDP or DeepSpeed", "delete one of them"),
    refuse(when("relora", lambda file: file.get("lr_scheduler") == "one_cycle"), "relora does not go with the one_cycle schedule", "take another lr_scheduler"),
)  # fmt: skip


@rule("D155", "axolotl")
def adapters(file: File) -> Iterator[Fault]:
    """Axolotl refuses options of adapters that contradict each other, such as its LoRA kernels on a base model in 8 bits."""
    yield from tell(file, ADAPTERS)


def _unsupported_metric(file: File) -> str | None:
    names = file.get("eval_causal_lm_metrics")
    bad = isinstance(names, list) and any(name not in METRICS for name in names)
    return "eval_causal_lm_metrics" if bad else None


EVALUATION = (
    refuse(
        when(
            "eval_table_size", lambda file: file.get("sample_packing") and file.get("eval_sample_packing") is not False
        ),
        "eval_table_size does not go with packed evaluation",
        "write `eval_sample_packing: false`",
    ),
    refuse(
        when("eval_strategy", lambda file: file.get("evals_per_epoch") and file.get("eval_strategy") != "steps"),
        "evals_per_epoch counts steps, but eval_strategy is another",
        "delete eval_strategy, or write `steps`",
    ),
    refuse(
        when("do_bench_eval", lambda file: not file.get("evals_per_epoch") and not file.get("eval_steps")),
        "do_bench_eval without evals_per_epoch or eval_steps",
        "add one of them",
    ),
    refuse(
        when("do_causal_lm_eval", lambda file: file.get("eval_sample_packing")),
        "do_causal_lm_eval does not go with packed evaluation",
        "write `eval_sample_packing: false`",
    ),
    refuse(_unsupported_metric, "Axolotl does not have all of these metrics", f"it has {', '.join(METRICS)}"),
)


@rule("D154", "axolotl")
def evaluations(file: File) -> Iterator[Fault]:
    """Axolotl refuses settings of the evaluation that contradict each other."""
    yield from tell(file, EVALUATION)


def _reentrant(file: File) -> object:
    return file.get("gradient_checkpointing_kwargs.use_reentrant")


def _selective(file: File) -> bool:
    return bool(file.get("selective_checkpointing"))


def _saved_products(file: File) -> str | None:
    saved = file.get("selective_checkpointing.save")
    names = [name for name in saved if isinstance(name, str) and name != "attention"] if isinstance(saved, list) else []
    bad = file.get("adapter") and any(name in op for name in names for op in MATMULS)
    return "selective_checkpointing.save" if bad else None


MEMORY = (
    clash("max_memory", "gpu_memory_limit"),
    refuse(
        when("activation_offloading", lambda file: not file.get("gradient_checkpointing")),
        "activation_offloading without gradient_checkpointing",
        "add `gradient_checkpointing: true`, or delete it",
    ),
    refuse(
        lambda file: "gradient_checkpointing_kwargs.use_reentrant" if file.get("unfrozen_parameters") and _reentrant(file) is True else None,
        "use_reentrant does not go with unfrozen_parameters",
        "write `use_reentrant: false`",
    ),
    refuse(when("selective_checkpointing", lambda file: not file.get("gradient_checkpointing")), "selective_checkpointing without gradient_checkpointing", "add `gradient_checkpointing: true`, or delete it", NEW),
    refuse(when("selective_checkpointing", _reentrant), "selective_checkpointing does not go with use_reentrant", "write `use_reentrant: false`", NEW),
    refuse(
        when("activation_offloading", lambda file: _selective(file) and file.get("activation_offloading") != "hidden_states" and file.get("gradient_checkpointing") not in (None, False)),
        "selective_checkpointing goes only with `activation_offloading: hidden_states`",
        "write that, or delete one of them",
        NEW,
    ),
    refuse(_saved_products, "an adapter changes these products in place, so they cannot be saved", "write `save: [attention]`", NEW),
    refuse(
        when("gradient_checkpointing", lambda file: "mpt" in str(file.get("base_model", "")).lower()),
        'Axolotl takes a base_model with "mpt" in its name for MPT, which has no gradient checkpointing',
        "delete gradient_checkpointing, or rename the model's folder",
    ),
    refuse(
        when("flash_optimum", lambda file: file.get("fp16") or file.get("bf16")),
        "BetterTransformer has no mixed precision",
        "delete flash_optimum, or write `bfloat16: true` for bf16",
    ),
)  # fmt: skip


@rule("D163", "axolotl")
def memory(file: File) -> Iterator[Fault]:
    """Axolotl refuses settings of checkpointing and offload that need, or exclude, each other."""
    yield from tell(file, MEMORY)


QUANTISATION = (
    refuse(
        lambda file: quantised(file) if file.get("model_quantization_config") else None,
        "model_quantization_config and {bits} are both set",
        "keep one of them",
    ),
    refuse(lambda file: quantised(file) if file.get("qat") else None, "qat and {bits} are both set", "keep one of them"),
    refuse(
        lambda file: "qat.activation_dtype" if file.get("qat.weight_dtype") == "ternary" and file.get("qat.activation_dtype") not in (None, "int8") else None,
        "ternary weights go only with activations in int8",
        "write `activation_dtype: int8`, or delete it",
        NEW,
    ),
    refuse(
        lambda file: next((key for key in ("revision_of_model", "model_revision") if file.get(key)), None) if file.get("gptq") else None,
        "a GPTQ model cannot be taken at a revision",
        "download that revision, and name its folder in base_model",
    ),
    refuse(lambda file: "save_safetensors" if file.values.get("save_safetensors") is False else None, "transformers 5 always writes safetensors", "delete it"),
)  # fmt: skip


@rule("D166", "axolotl")
def quantisation(file: File) -> Iterator[Fault]:
    """Axolotl refuses two ways to quantise the base model."""
    yield from tell(file, QUANTISATION)


def _several(file: File) -> bool:
    rows = file.get("datasets")
    return isinstance(rows, list) and len(rows) > 1


STREAMING = (
    refuse(when("streaming", lambda file: not file.get("max_steps") and not file.get("pretraining_dataset")), "streamed rows have no length", "add `max_steps`"),
    refuse(
        when("streaming", lambda file: file.get("sample_packing") and _several(file)),
        "Axolotl packs only one streamed data set",
        "write `sample_packing: false`, or mix the rows into one",
    ),
    refuse(
        when("dataset_exact_deduplication", lambda file: file.get("streaming") or file.get("pretraining_dataset")),
        "streamed rows cannot be deduplicated",
        "delete dataset_exact_deduplication",
    ),
    clash("skip_prepare_dataset", "dataset_exact_deduplication", "delete one: rows are deduplicated while they are prepared"),
    clash("pretraining_dataset", "include_tokens_per_second", "delete include_tokens_per_second"),
    refuse(
        when("push_dataset_to_hub", lambda file: file.get("hf_use_auth_token") is not True),
        "push_dataset_to_hub without hf_use_auth_token",
        "add `hf_use_auth_token: true`",
    ),
)  # fmt: skip


@rule("D167", "axolotl")
def rows_that_stream(file: File) -> Iterator[Fault]:
    """Axolotl refuses streamed rows with what needs all of them, and pushing rows without `hf_use_auth_token`."""
    yield from tell(file, STREAMING)


def _two_losses(file: File) -> str | None:
    on = [key for key in LOSSES if file.get(key)]
    return on[1] if len(on) > 1 else None


TWICE = (
    clash("neftune_noise_alpha", "noisy_embedding_alpha", "delete noisy_embedding_alpha, the old name"),
    clash("streaming_multipack_buffer_size", "pretrain_multipack_buffer_size", "delete pretrain_multipack_buffer_size, the old name"),
    refuse(_two_losses, "{key} is a second cross-entropy: Axolotl takes one", "keep one of them"),
    refuse(
        when("batch_size", lambda file: not file.get("micro_batch_size") and not file.get("gradient_accumulation_steps")),
        "batch_size alone does not say how it is split",
        "write micro_batch_size and gradient_accumulation_steps",
    ),
    refuse(
        lambda file: "neftune_noise_alpha" if number(file.get("neftune_noise_alpha")) and float(str(file.get("neftune_noise_alpha"))) <= 0 else None,
        "neftune_noise_alpha must be above 0",
        "delete it to turn the noise off",
    ),
)  # fmt: skip


@rule("D168", "axolotl")
def said_twice(file: File) -> Iterator[Fault]:
    """Axolotl refuses the old and the new name of a setting together, and several cross-entropies."""
    yield from tell(file, TWICE)


def _foreign_option(file: File) -> str | None:
    options = file.get("torch_compile_options")
    bad = [key for key in options if key not in INDUCTOR] if isinstance(options, dict) else []
    return "torch_compile_options" if bad else None


COMPILED = (
    refuse(when("scaling_softmax", lambda file: attention(file) != "flex_attention"), "scaling_softmax needs flex attention", "write `attn_implementation: flex_attention`"),
    refuse(
        when("batch_flattening", lambda file: file.get("batch_flattening") is True and attention(file) not in (*VARLEN, *VARLEN_HUB)),
        "batch_flattening needs attention that takes sequences of any length",
        "write `attn_implementation: flash_attention_2`",
    ),
    refuse(when("batch_flattening", lambda file: file.get("batch_flattening") is True and file.get("sample_packing")), "batch_flattening and sample_packing are both on", "keep one of them"),
    refuse(
        when("gemma4_hybrid_attn_impl", lambda file: file.get("attn_implementation") not in (None, "flash_attention_2")),
        "gemma4_hybrid_attn_impl needs flash attention",
        "delete attn_implementation, or write flash_attention_2",
    ),
    refuse(_foreign_option, "Axolotl does not hand on all of these options", f"it takes {', '.join(INDUCTOR)}", NEW),
    refuse(
        lambda file: "torch_compile_options" if file.get("torch_compile_options") is not None and not file.get("torch_compile") else None,
        "torch_compile_options without torch_compile",
        "add `torch_compile: true`, or delete it",
        NEW,
    ),
    needs("deepcompile", "deepspeed", "name a DeepSpeed file, or delete it"),
)  # fmt: skip


@rule("D169", "axolotl")
def compiled(file: File) -> Iterator[Fault]:
    """Axolotl refuses attention and compilation that need, or exclude, each other."""
    yield from tell(file, COMPILED)


def _mistral(file: File) -> str | None:
    edits = ("added_tokens_overrides", "special_tokens", "tokens", "chat_template", "processor_kwargs")
    return next((key for key in edits if file.get(key)), None) if file.get("tokenizer_use_mistral_common") else None


def _template_of_rows(file: File) -> str | None:
    for key in ("datasets", "test_datasets"):
        rows = file.get(key)
        for index, row in enumerate(rows if isinstance(rows, list) else ()):
            if (
                isinstance(row, dict)
                and row.get("chat_template") == "jinja"
                and not row.get("chat_template_jinja")
                and file.get("rl") is None
            ):
                return f"{key}.{index}.chat_template"
    return None


TOKENS = (
    refuse(_mistral, "mistral-common's tokenizer cannot be changed by {key}", "delete {key}, or tokenizer_use_mistral_common"),
    refuse(_template_of_rows, "chat_template jinja without chat_template_jinja", "write the template, or its file, in `chat_template_jinja`"),
    refuse(
        lambda file: next((f"processor_kwargs.{key}" for key in ("revision", "trust_remote_code") if file.get(f"processor_kwargs.{key}") is not None), None),
        "{key} of processor_kwargs has a key of its own",
        "write `revision_of_model` or `trust_remote_code` at the top of the file",
    ),
)  # fmt: skip


@rule("D177", "axolotl")
def tokens_and_templates(file: File) -> Iterator[Fault]:
    """Axolotl refuses changes to mistral-common's tokenizer, and a set of rows whose Jinja template is missing."""
    yield from tell(file, TOKENS)
