"""What Axolotl refuses when it starts, as far as one file decides it: its validators, condition by condition.

Facts: `axolotl/utils/schemas/validation.py`, `config.py`, `peft.py`, `fsdp.py` and `datasets.py` of 0.17, 0.19 and 0.21. A
condition that not every release has says so by `since` and `until`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

from recipec.doctor.contract_check import File, only_fsdp2
from recipec.doctor.contract_check import fsdp_version as version
from recipec.doctor.rules import Fault, both, number, rule
from recipec.facts import is_between

NEW, RINGMASTER = "0.19.0", "0.21.0"  # the latter has another context parallelism, and no FSDP1
KERNELS = ("lora_mlp_kernel", "lora_qkv_kernel", "lora_o_kernel")
PREFERENCES = ("dpo", "ipo", "kto", "orpo")
OLD_ATTENTION = {
    "xformers_attention": "xformers",
    "sage_attention": "sage",
    "flex_attention": "flex_attention",
    "flash_attention": "flash_attention_2",
    "sdp_attention": "sdpa",
    "eager_attention": "eager",
}
LEFT_UNTRAINED = (
    "lora_modules_to_save", "unfrozen_parameters", "peft_use_dora", "peft_trainable_token_indices", "lisa_step_interval",
    "reward_model", "process_reward_model",
)  # fmt: skip
OWN_RATES = ("loraplus_lr_ratio", "lr_groups", "embedding_lr", "embedding_lr_scale")


class Refusal(NamedTuple):
    """One condition: the key that it is about where it holds, else None; what is wrong, and what to do."""

    where: Callable[[File], str | None]
    message: str
    advice: str
    since: str = ""
    until: str = ""


def refuse(where: Callable[[File], str | None], message: str, advice: str, since: str = "", until: str = "") -> Refusal:
    """Return a condition of the releases from `since` on and before `until`, where these are given."""
    return Refusal(where, message, advice, since, until)


def shards(file: File) -> bool:
    """Return whether the file turns FSDP on."""
    return bool(file.get("fsdp") or file.get("fsdp_config"))


def fsdp(file: File, key: str) -> str | None:
    """Return the path under which a key of `fsdp_config` is set, with or without its prefix."""
    return next(
        (path for path in (f"fsdp_config.{key}", f"fsdp_config.fsdp_{key}") if file.get(path) is not None), None
    )


def attention(file: File) -> str:
    """Return the attention implementation, as Axolotl makes one of the old flags too."""
    chosen = file.get("attn_implementation")
    if isinstance(chosen, str):
        return re.split("[:@]", chosen)[0].strip()
    if file.get("gemma4_hybrid_attn_impl"):
        return "flash_attention_2"
    return next((name for flag, name in OLD_ATTENTION.items() if file.get(flag)), "")


def quantised(file: File) -> str | None:
    """Return the key that loads the base model in fewer bits."""
    return next((key for key in ("load_in_8bit", "load_in_4bit") if file.get(key)), None)


def clash(first: str, second: str, advice: str = "keep one of them") -> Refusal:
    """Two keys that Axolotl refuses together."""
    return refuse(
        lambda file: second if both(file, first, second) else None, f"{first} and {second} are both set", advice
    )


def needs(key: str, need: str, advice: str) -> Refusal:
    """A key that Axolotl refuses without another."""
    return refuse(lambda file: key if file.get(key) and not file.get(need) else None, f"{key} without {need}", advice)


def when(key: str, holds: Callable[[File], object]) -> Callable[[File], str | None]:
    """Return a condition about a key that is set."""
    return lambda file: key if file.get(key) and holds(file) else None


def tell(file: File, refusals: tuple[Refusal, ...]) -> Iterator[Fault]:
    """Yield what holds of a file."""
    for refusal in refusals:
        if not is_between(file.guess.release, refusal.since, refusal.until):
            continue
        path = refusal.where(file)
        if path is not None:
            values = {
                "optimizer": file.get("optimizer"),
                "rl": file.get("rl"),
                "key": path.rsplit(".", 1)[-1],
                "bits": quantised(file),
            }
            yield Fault(path, refusal.message.format(**values), refusal.advice.format(**values))


def more_than_one(file: File, key: str) -> bool:
    """Return whether a size is above one."""
    size = file.get(key)
    return number(size) and size > 1


def _degree(file: File) -> tuple[str, int]:
    for key in ("context_parallel_size", "sequence_parallel_degree"):
        size = file.get(key)
        if number(size) and size > 1:
            return key, int(size)
    return "", 1


def _no_ring(file: File) -> str | None:
    if not _degree(file)[0] or file.get("use_glm_dsa_kernels") or attention(file) == "flash_attention_2":
        return None
    return "attn_implementation" if file.get("attn_implementation") else _degree(file)[0]


def _micro_batch(file: File) -> str | None:
    if not _degree(file)[0] or file.get("use_glm_dsa_kernels") or not file.get("sample_packing"):
        return None
    return "micro_batch_size" if more_than_one(file, "micro_batch_size") else None


def _liger(file: File) -> str | None:
    wrong = file.get("rl") == "grpo" and file.get("trl.use_liger_loss") and more_than_one(file, "context_parallel_size")
    return "trl.use_liger_loss" if wrong else None


CONTEXT = (
    refuse(
        _no_ring,
        "context parallelism needs flash attention",
        "write `attn_implementation: flash_attention_2`, or delete context_parallel_size",
        until=RINGMASTER,
    ),
    refuse(
        _micro_batch,
        "context parallelism with packing takes one sequence at a time",
        "write `micro_batch_size: 1`, and more gradient_accumulation_steps",
        until=RINGMASTER,
    ),
    refuse(
        lambda file: (
            "attn_implementation"
            if _degree(file)[0] and not file.get("use_glm_dsa_kernels") and attention(file) == "eager"
            else None
        ),
        "context parallelism wraps kernels of attention, and eager has none",
        "write `attn_implementation: flash_attention_2`",
        since=RINGMASTER,
    ),
    refuse(
        lambda file: _degree(file)[0] if file.get("rl") and file.get("deepspeed") and _degree(file)[0] else None,
        "context parallelism of {rl} does not go with DeepSpeed",
        "take FSDP2",
        since=RINGMASTER,
    ),
    refuse(
        _liger,
        "GRPO's Liger loss does not go with context parallelism",
        "delete use_liger_loss, or write `context_parallel_size: 1`",
    ),
)


@rule("D159", "axolotl")
def context_parallelism(file: File) -> Iterator[Fault]:
    """Axolotl refuses context parallelism without flash attention 2, and with packing unless the micro batch is 1."""
    yield from tell(file, CONTEXT)


def _dpo_losses(file: File) -> str | None:
    losses, weights = file.get("dpo_loss_type"), file.get("dpo_loss_weights")
    if file.get("rl") != "dpo" or weights is None:
        return None
    if losses is None or (isinstance(losses, list) and isinstance(weights, list) and len(losses) != len(weights)):
        return "dpo_loss_weights"
    return None


def _first_loss(file: File) -> object:
    losses = file.get("dpo_loss_type")
    return losses[0] if isinstance(losses, list) and losses else None


RL = (
    refuse(
        when("warmup_ratio", lambda file: file.get("rl") == "simpo"),
        "Axolotl's SimPO trainer has no warmup_ratio",
        "write `warmup_steps: N` instead",
    ),
    refuse(_dpo_losses, "dpo_loss_weights needs one weight for each dpo_loss_type", "give each loss its weight"),
    refuse(
        lambda file: next((key for key in ("dpo_loss_type", "dpo_loss_weights") if file.get(key) is not None), None)
        if file.get("rl") != "dpo"
        else None,
        "{key} is for `rl: dpo` only",
        "delete it, or write `rl: dpo`",
    ),
    refuse(
        when("dpo_use_liger_kernel", lambda file: file.get("rl") == "ipo" or _first_loss(file) == "ipo"),
        "Liger's DPO loss has no IPO",
        "delete dpo_use_liger_kernel, or take another loss",
        NEW,
        RINGMASTER,
    ),
    refuse(
        lambda file: "trl.multi_objective_aggregation"
        if file.get("rl") == "gdpo" and file.get("trl.multi_objective_aggregation") == "sum_then_normalize"
        else None,
        "sum_then_normalize is GRPO, but rl is gdpo",
        "delete it, or write `rl: grpo`",
    ),
    refuse(
        lambda file: "trl.beta"
        if file.get("beta") and file.get("trl.beta") and file.get("beta") != file.get("trl.beta")
        else None,
        "beta and trl.beta are different",
        "keep one of them",
    ),
    refuse(lambda file: "rl" if file.get("rl") == "ebft" and not file.get("ebft") else None, "rl ebft without an `ebft` section", "add `ebft: {{mode: structured}}`"),
    refuse(
        when("torch_compile", lambda file: file.get("torch_compile") is True and file.get("gradient_checkpointing") and file.get("rl") == "ebft" and file.get("ebft.mode") == "strided"),
        "strided EBFT compiles its attention itself: torch_compile breaks its checkpointing",
        "delete torch_compile",
    ),
    refuse(
        when("activation_offloading", lambda file: file.get("activation_offloading") is True and attention(file) == "flex_attention" and file.get("rl") == "ebft" and file.get("ebft.mode") == "strided"),
        "strided EBFT with flex attention does not go with activation_offloading",
        "delete activation_offloading",
    ),
)  # fmt: skip


@rule("D156", "axolotl")
def preferences_and_rewards(file: File) -> Iterator[Fault]:
    """Axolotl refuses settings that the chosen `rl` does not have, such as `warmup_ratio` with SimPO."""
    yield from tell(file, RL)


def _optimizer(name: str) -> Callable[[File], bool]:
    return lambda file: str(file.get("optimizer", "")).startswith(name)


def _about(name: str, key: str, holds: Callable[[File], object]) -> Callable[[File], str | None]:
    chosen = _optimizer(name)
    return lambda file: key if chosen(file) and holds(file) else None


def _any(name: str, keys: tuple[str, ...]) -> Callable[[File], str | None]:
    chosen = _optimizer(name)
    return lambda file: next((key for key in keys if file.get(key)), None) if chosen(file) else None


def _old_fsdp(file: File) -> bool:
    return shards(file) and version(file) == 1


OPTIMISERS = (
    *(
        refuse(_about(name, "optimizer", lambda file: file.get("deepspeed")), "{optimizer} does not go with DeepSpeed", "take another optimiser, DDP or FSDP2")
        for name in ("muon", "q_galore_adamw8bit", "flash_")
    ),
    *(
        refuse(_about(name, "optimizer", _old_fsdp), "{optimizer} needs FSDP2", "write `fsdp_version: 2`")
        for name in ("muon", "q_galore_adamw8bit", "flash_", "polora")
    ),
    refuse(_about("polora", "optimizer", lambda file: file.get("adapter") not in ("lora", "qlora")), "polora trains only LoRA's factors, and there is no adapter", "add `adapter: lora`, or take another optimiser"),
    refuse(_about("polora", "optimizer", lambda file: file.get("deepspeed") or more_than_one(file, "tensor_parallel_size")), "polora does not go with DeepSpeed or tensor parallelism", "take DDP, FSDP2 or another optimiser"),
    refuse(_any("polora", LEFT_UNTRAINED), "polora would not train what {key} adds", "delete {key}, or take another optimiser"),
    refuse(_any("polora", OWN_RATES), "polora sets its own step sizes and ignores {key}", "delete {key}, or take another optimiser"),
    refuse(_any("polora", ("relora_steps",)), "polora does not go with ReLoRA", "delete relora_steps, or take another optimiser"),
    refuse(_about("q_galore_adamw8bit", "optimizer", lambda file: file.get("adapter")), "q_galore_adamw8bit trains whole matrices and does not go with an adapter", "delete adapter, or take another optimiser"),
    refuse(_about("q_galore_adamw8bit", "fsdp_config", lambda file: shards(file) and version(file) == 2 and file.get("fsdp_config.use_orig_params") is not True), "q_galore_adamw8bit under FSDP2 needs `use_orig_params: true`", "add it to fsdp_config", until=RINGMASTER),
)  # fmt: skip


@rule("D157", "axolotl")
def optimisers_elsewhere(file: File) -> Iterator[Fault]:
    """Axolotl refuses Muon, PoLoRA, Q-GaLore and flash optimisers with the sharding or the adapter that they cannot have."""
    yield from tell(file, OPTIMISERS)


def _falcon(file: File) -> bool:
    return "falcon" in str(file.get("base_model", "")).lower()


SHARDING = (
    refuse(
        lambda file: quantised(file) if version(file) == 2 and shards(file) | (not only_fsdp2(file) and "fsdp_version" in file.values) and file.get("rl") in PREFERENCES else None,
        "FSDP2 cannot train {rl} on a base model in {bits}",
        "delete {bits}, or take DeepSpeed",
    ),
    refuse(lambda file: "fsdp" if file.get("fsdp") else None, "the list `fsdp` belongs to FSDP1, which Axolotl has no more since 0.21", "delete it: `fsdp_config` alone turns FSDP2 on", since=RINGMASTER),
    refuse(
        lambda file: next((path for path in ("fsdp_version", "fsdp_config.fsdp_version", "fsdp_config.version") if str(file.get(path, 2)) != "2"), None),
        "Axolotl has no FSDP1 any more since 0.21",
        "write `fsdp_version: 2`",
        since=RINGMASTER,
    ),
    refuse(
        lambda file: fsdp(file, "cpu_offload_pin_memory") if file.get(str(fsdp(file, "cpu_offload_pin_memory"))) is False and str(file.get("fsdp_version")) != "2" else None,
        "FSDP1 always pins the memory that it offloads to",
        "delete it, or write `fsdp_version: 2`",
        until=RINGMASTER,
    ),
    refuse(
        lambda file: fsdp(file, "cpu_offload_pin_memory") if file.get(str(fsdp(file, "cpu_offload_pin_memory"))) is False and (only_fsdp2(file) or str(file.get("fsdp_version")) == "2") and not file.get(str(fsdp(file, "offload_params"))) else None,
        "nothing is offloaded, so no memory is pinned",
        "add `offload_params: true`, or delete it",
    ),
    refuse(
        lambda file: fsdp(file, "auto_wrap_policy") if file.get(str(fsdp(file, "auto_wrap_policy"))) == "SIZE_BASED_WRAP" and not fsdp(file, "min_num_params") else None,
        "SIZE_BASED_WRAP without min_num_params",
        "add `min_num_params`, or write TRANSFORMER_BASED_WRAP",
        NEW,
    ),
    refuse(when("fp32_norms", lambda file: not file.get("fsdp_config") or version(file) != 2), "fp32_norms needs FSDP2", "write `fsdp_version: 2` with an fsdp_config, or delete it"),
    refuse(
        when("fp8_enable_fsdp_float8_all_gather", lambda file: file.get("fsdp_version") != 2),
        "fp8_enable_fsdp_float8_all_gather needs FSDP2",
        "write `fsdp_version: 2` at the top of the file",
        until=RINGMASTER,
    ),
    refuse(
        when("fp8_enable_fsdp_float8_all_gather", lambda file: not file.get("fsdp_config")),
        "fp8_enable_fsdp_float8_all_gather needs FSDP2",
        "add an fsdp_config, or delete it",
        since=RINGMASTER,
    ),
    refuse(
        when("fp8_enable_fsdp_float8_all_gather", lambda file: file.get("fp8_config.recipe", "tensorwise") != "tensorwise"),
        "FSDP gathers float8 only with tensorwise scaling",
        "write `recipe: tensorwise`, or delete it",
        NEW,
    ),
    refuse(lambda file: "fp8_config" if file.get("fp8_config") is not None and not file.get("fp8") else None, "fp8_config without fp8", "add `fp8: true`, or delete it", NEW),
    refuse(when("fsdp", _falcon), "Axolotl has no FSDP for Falcon", "take DeepSpeed", until=RINGMASTER),
    refuse(when("fsdp_config", _falcon), "Axolotl has no FSDP for Falcon", "take DeepSpeed", since=RINGMASTER),
    refuse(
        lambda file: "expert_parallel_size" if more_than_one(file, "expert_parallel_size") and not file.get("fsdp_config") else None,
        "expert parallelism needs FSDP2",
        "add an fsdp_config, or delete expert_parallel_size",
        since=RINGMASTER,
    ),
    refuse(
        lambda file: fsdp(file, "state_dict_type") or "fsdp_config"
        if more_than_one(file, "expert_parallel_size") and file.get("fsdp_config") and file.get(str(fsdp(file, "state_dict_type"))) != "FULL_STATE_DICT"
        else None,
        "of experts on several GPUs, only a full state dict holds all",
        "write `state_dict_type: FULL_STATE_DICT` in fsdp_config",
        since=RINGMASTER,
    ),
    refuse(
        lambda file: "expert_parallel_size" if more_than_one(file, "expert_parallel_size") and more_than_one(file, "tensor_parallel_size") else None,
        "expert parallelism does not go with tensor parallelism",
        "delete one of them",
        since=RINGMASTER,
    ),
    refuse(
        lambda file: next((key for key in (*KERNELS, "lora_embedding_kernel") if file.get(key)), None) if file.get("fsdp_config") is not None and version(file) == 1 else None,
        "{key} does not go with FSDP1",
        "write `fsdp_version: 2`, or `{key}: false`",
    ),
    refuse(
        when("ple_cpu_offload", lambda file: file.get("deepspeed") or file.get("fsdp") is not None or file.get("fsdp_config") is not None),
        "ple_cpu_offload does not go with FSDP or DeepSpeed",
        "delete one of them",
        NEW,
    ),
    refuse(
        when("ple_cpu_offload", lambda file: (file.get("adapter"), bool(file.get("load_in_4bit"))) != ("qlora", True) and (file.get("adapter"), bool(file.get("load_in_8bit"))) != ("lora", True)),
        "ple_cpu_offload needs qlora in 4 bits or lora in 8 bits",
        "quantise the base model, or delete it",
        NEW,
    ),
    refuse(
        lambda file: fsdp(file, "cpu_ram_efficient_loading") if file.get("model_quantization_config") == "Mxfp4Config" and file.get("fsdp_config.cpu_ram_efficient_loading") is True else None,
        "weights in MXFP4 cannot be loaded on one rank only",
        "write `cpu_ram_efficient_loading: false`",
    ),
)  # fmt: skip


@rule("D158", "axolotl")
def sharding(file: File) -> Iterator[Fault]:
    """Axolotl refuses what FSDP of the chosen version cannot do, such as preferences on a quantised base under FSDP2."""
    yield from tell(file, SHARDING)


@rule("D139", "axolotl")
def resharding_of_another_version(file: File) -> Iterator[Fault]:
    """Under FSDP1, the default, transformers takes `reshard_after_forward` for the name of a strategy: `true` ends in a KeyError."""
    path = fsdp(file, "reshard_after_forward")
    if path and version(file) == 1:
        advice = "delete it (FSDP1 shards in full), or write `fsdp_version: 2`"
        yield Fault(path, "reshard_after_forward belongs to FSDP2, and this is FSDP1", advice)
