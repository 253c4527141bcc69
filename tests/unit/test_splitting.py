"""Processes that share sequences or layers: what each trainer has, what it asserts, and raw sizes beside the plan's."""

from typing import Any

import pytest

from recipec.facts.models import fitting, known_model
from recipec.pipeline import Compiled, compile_tree
from recipec.source import Source, plain
from recipec.yaml_reader import read_text

TEXT = """recipe: 1
name: x
trainer: TRAINER
model: {base: meta-llama/Llama-3.1-8B-Instruct, max_length: 4096MODEL}
data: {train: [{path: a.jsonl, format: chat}]MORE}
train: {learning_rate: 1e-5, epochs: 1, batch_size: 32TRAIN}
hardware: {gpu: h100-80gb, per_node: 8}
parallel: {PARALLEL}
"""
FLASH = ", attention: flash_attention_2"


def compiled(
    trainer: str, parallel: str, model: str = "", more: str = "", train: str = "", release: str = ""
) -> Compiled:
    text = TEXT.replace("TRAINER", trainer).replace("MODEL", model).replace("MORE", more).replace("TRAIN", train)
    text += f"versions: {{{trainer}: {release}}}\n" if release else ""
    return compile_tree(read_text(Source("x.yaml", text.replace("PARALLEL", parallel))))


def told(found: Compiled) -> list[str]:
    return [one.message for one in found.findings if one.severity == "error"]


def document(found: Compiled, name: str) -> Any:
    assert told(found) == []
    return plain(read_text(Source(name, found.files[f"train/{name}"])))


def test_axolotl_is_told_of_groups_and_shards() -> None:
    own = document(
        compiled("axolotl", "strategy: fsdp2, context_parallel: 2, tensor_parallel: 2", FLASH), "axolotl.yaml"
    )
    sizes = {key: own[key] for key in ("context_parallel_size", "tensor_parallel_size", "dp_shard_size")}
    assert sizes == {"context_parallel_size": 2, "tensor_parallel_size": 2, "dp_shard_size": 2}
    assert own["gradient_accumulation_steps"] == 16
    alone = document(compiled("axolotl", "strategy: fsdp2", FLASH), "axolotl.yaml")
    assert not set(sizes) & set(alone)


@pytest.mark.parametrize(
    ("release", "added", "package"),
    [("0.21.0", "ringmaster", "axolotl-ringmaster"), ("0.19.0", "ring-flash-attn", "ring-flash-attn")],
)
def test_what_shares_sequences_is_in_the_environment(release: str, added: str, package: str) -> None:
    found = compiled("axolotl", "strategy: fsdp2, context_parallel: 2", FLASH, release=release)
    (name,) = [path for path in found.files if path.startswith("environments/")]
    assert name == f"environments/axolotl-{release}-flash-attn-{added}.txt"
    assert f"\n{package}==" in found.files[name]
    assert "\nflash-attn==" in found.files[name]


def test_trl_is_told_by_accelerate_and_pads_to_pieces() -> None:
    found = compiled("trl", "strategy: fsdp2, context_parallel: 4")
    sizes = document(found, "accelerate.yaml")["parallelism_config"]
    assert sizes == {"parallelism_config_dp_shard_size": 2, "parallelism_config_cp_size": 4}
    assert "pad_to_multiple_of=8," in found.files["train/train.py"]


def test_a_script_that_accelerate_starts_is_told_of_both() -> None:
    text = """recipe: 1
name: x
trainer: script
model: {base: my-lab/my-model}
script: {path: train.py, arguments: {model: "${plan:train.model.path}", batch: "${plan:train.batch.micro}", out: "${plan:train.output}"}}
train: {batch_size: 32, gradient_accumulation: 1}
hardware: {gpu: h100-80gb, per_node: 8}
parallel: {strategy: fsdp2, context_parallel: 2, tensor_parallel: 2}
"""
    found = compile_tree(read_text(Source("x.yaml", text)))
    assert document(found, "accelerate.yaml")["parallelism_config"] == {
        "parallelism_config_dp_shard_size": 2,
        "parallelism_config_cp_size": 2,
        "parallelism_config_tp_size": 2,
    }
    assert "--batch 16" in found.files["train/run.sh"]


CONTEXT = "strategy: fsdp2, context_parallel: 2"
TENSOR = "strategy: fsdp2, tensor_parallel: 2"


@pytest.mark.parametrize(
    ("trainer", "parallel", "words", "message"),
    [
        ("axolotl", CONTEXT, {}, "Axolotl's context parallelism trains with Flash Attention 2 whatever the number of heads"),
        ("axolotl", CONTEXT, {"release": "0.19.0"}, "Axolotl's context parallelism is ring attention of Flash Attention 2"),
        ("axolotl", "strategy: zero3, context_parallel: 2", {"model": FLASH}, "Axolotl has context_parallel beside FSDP2 only"),
        ("axolotl", "strategy: ddp, tensor_parallel: 2", {}, "Axolotl has tensor_parallel beside FSDP2 only"),
        ("axolotl", CONTEXT, {"model": FLASH, "more": ", packing: true", "train": ", micro_batch_size: 2", "release": "0.19.0"}, "Axolotl's ring attention takes one packed row at a time"),
        ("axolotl", TENSOR, {"train": ", liger_kernel: true"}, "Liger's kernels need whole layers"),
        ("axolotl", TENSOR, {"model": ", load_in: nf4", "train": "}\nadapter: {rank: 8"}, "weights in nf4 cannot be split by heads"),
        ("trl", "strategy: zero3, context_parallel: 2", {}, "TRL has context parallelism with FSDP2 only"),
        ("trl", CONTEXT, {"model": FLASH}, "Transformers splits sequences with sdpa attention only"),
        ("trl", CONTEXT, {"more": ", packing: true"}, "TRL's context parallelism drops the mask that keeps packed rows apart"),
        ("trl", TENSOR, {}, "TRL has no tensor parallelism"),
        ("llamafactory", CONTEXT, {}, "LLaMA-Factory has no context parallelism"),
        ("llamafactory", TENSOR, {}, "LLaMA-Factory has no tensor parallelism"),
        ("openrlhf", "strategy: zero3, context_parallel: 2", {"model": ", attention: sdpa"}, "OpenRLHF's context parallelism is ring attention of Flash Attention 2"),
        ("openrlhf", "strategy: zero3, tensor_parallel: 2", {"train": ", precision: fp16"}, "OpenRLHF's tensor parallelism computes in bf16"),
    ],
)  # fmt: skip
def test_what_a_trainer_asserts_is_told(trainer: str, parallel: str, words: dict[str, str], message: str) -> None:
    assert message in told(compiled(trainer, parallel, **words))


def test_pieces_are_of_one_length() -> None:
    text = "strategy: fsdp2, context_parallel: 4"
    assert told(compiled("trl", text)) == []
    odd = compile_tree(
        read_text(
            Source(
                "x.yaml",
                TEXT.replace("TRAINER", "trl")
                .replace("4096MODEL", "4100")
                .replace("MORE", "")
                .replace("TRAIN", "")
                .replace("PARALLEL", text),
            )
        )
    )
    assert told(odd) == ["4100 tokens cannot be cut into 8 equal pieces, two for each of 4"]
    assert [one.help for one in odd.findings if one.severity == "error"] == ["use 4096"]


@pytest.mark.parametrize(
    ("trainer", "strategy", "raw", "line"),
    [
        ("axolotl", "fsdp2", "axolotl: {sequence_parallel_degree: 2}", "set parallel.context_parallel: 2 instead"),
        ("openrlhf", "zero2", "openrlhf: {ds.ring_attn_size: 4}", "set parallel.context_parallel: 4 instead"),
        ("openrlhf", "zero2", "openrlhf: {ds.tensor_parallel_size: 2}", "set parallel.tensor_parallel: 2 instead"),
        (
            "trl",
            "fsdp2",
            "accelerate: {parallelism_config: {parallelism_config_tp_size: 2}}",
            "set parallel.tensor_parallel: 2 instead",
        ),
        (
            "trl",
            "zero2",
            "deepspeed: {tensor_parallel: {tp: {tp_size: 2}}}",
            "set parallel.tensor_parallel: 2 instead",
        ),
    ],
)
def test_raw_sizes_are_found_in_every_file_and_depth(trainer: str, strategy: str, raw: str, line: str) -> None:
    found = compiled(trainer, f"strategy: {strategy}}}\noverrides: {{{raw}")
    (one,) = [one for one in found.findings if one.code == "L143"]
    assert one.help == line
    assert one.span is not None
    assert one.span.line == 9


@pytest.mark.parametrize(
    ("gpu", "advice"),
    [
        ("h100-80gb", "set model.attention: flash_attention_2"),
        ("t4", "drop parallel.context_parallel: Flash Attention 2 needs a GPU with SM 80"),
    ],
)
@pytest.mark.parametrize("trainer", ["axolotl", "openrlhf"])
def test_what_is_missing_for_ring_attention_is_told_at_the_word_that_asks_for_it(
    trainer: str, gpu: str, advice: str
) -> None:
    strategy = "zero3" if trainer == "openrlhf" else "fsdp2"
    text = TEXT.replace("h100-80gb", gpu).replace("PARALLEL", f"strategy: {strategy}, context_parallel: 2")
    for word, given in (("TRAINER", trainer), ("MODEL", ""), ("MORE", ""), ("TRAIN", ", micro_batch_size: 1")):
        text = text.replace(word, given)
    found = compile_tree(read_text(Source("x.yaml", text))).findings
    one = next(one for one in found if "Flash Attention 2" in one.message)
    assert one.span is not None
    assert (text.splitlines()[one.span.line - 1].partition(":")[0], one.help) == ("parallel", advice)


def test_a_batch_that_does_not_multiply_out_names_what_shares_sequences() -> None:
    parallel = "strategy: fsdp2, context_parallel: 2, tensor_parallel: 2"
    found = compiled("axolotl", parallel, FLASH, train=", micro_batch_size: 3").findings
    help = next(one.help for one in found if one.code == "P060")
    assert help is not None
    assert "the 2 GPUs of parallel.context_parallel share each sequence" in help
    assert "the 2 GPUs of parallel.tensor_parallel share each sequence" in help
    assert "rollout" not in help


def test_vllm_is_told_of_the_share_of_the_memory_that_it_takes() -> None:
    text = """recipe: 1
name: x
model: {base: meta-llama/Meta-Llama-3-8B}
hardware: {gpu: rtx-4060-ti-16gb}
evaluate: {tasks: [mmlu], backend: BACKEND}
"""
    found = {name: compile_tree(read_text(Source("x.yaml", text.replace("BACKEND", name)))) for name in ("hf", "vllm")}
    assert told(found["hf"]) == []
    assert any("14.4 GiB that vLLM takes of the 16 GiB of rtx-4060-ti-16gb" in one for one in told(found["vllm"]))


def test_a_number_beyond_all_gpus_is_judged_at_once() -> None:
    known = known_model("meta-llama/Llama-3.1-8B-Instruct")  # 32 heads, which share 8 keys and values
    assert (fitting(known, 24, copies=False), fitting(known, 96, copies=True)) == (8, 32)
    assert (fitting(known, 10**12, copies=True), fitting(None, 10**12, copies=True)) == (32, 10**12)
    assert fitting(known, 999_999_999_999, copies=True) == 1
