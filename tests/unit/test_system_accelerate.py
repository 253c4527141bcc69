"""The launcher's configuration and `ds_config.json`, as every trainer's stages have them."""

import json
from pathlib import Path
from typing import Any

import pytest
from reading_back import contradictions, read

from recipec.pipeline import Compiled, compile_file, compile_tree
from recipec.source import Source, plain
from recipec.systems.registry import system
from recipec.yaml_reader import read_text

RECIPES = sorted((Path(__file__).parent.parent.parent / "recipes").glob("*.yaml"))
FILES = ("accelerate.yaml", "ds_config.json")


def compiled(trainer: str, parallel: str, more: str = "") -> Compiled:
    text = f"""recipe: 1
name: x
trainer: {trainer}
model: {{base: m/m, chat_template: chatml}}
data: {{train: [{{path: a.jsonl, format: chat}}]}}
train: {{learning_rate: 1e-4{more}}}
hardware: {{gpu: a100-80gb, per_node: 2}}
parallel: {parallel}
"""
    found = compile_tree(read_text(Source("x.yaml", text)))
    assert found.files, found.findings
    return found


def launcher(found: Compiled) -> Any:
    return plain(read_text(Source("a.yaml", found.files["train/accelerate.yaml"])))


def sharding(found: Compiled) -> Any:
    return json.loads(found.files["train/ds_config.json"])


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_they_read_back_as_the_plan(recipe: Path) -> None:
    found = compile_file(str(recipe))
    assert found.resolved is not None
    for stage in found.resolved.plan.of_kind("train"):
        own = system(stage.system).sheets(stage.body, stage.environment)
        for name, said in read(found.files, stage, [sheet for sheet in own if sheet.file in FILES]).items():
            assert contradictions(said, stage) == {}
            assert len(said) >= 3, name


def test_what_is_read_back() -> None:
    found = compiled("llamafactory", "{strategy: zero3, bucket_size: 1000, offload: {optimizer: nvme, nvme_path: /n}}")
    assert found.resolved is not None
    (stage,) = found.resolved.plan.stages
    sheets = system(stage.system).sheets(stage.body, stage.environment)
    said = read(found.files, stage, [sheet for sheet in sheets if sheet.file == "ds_config.json"])["ds_config.json"]
    assert said == {
        "batch.total": 2,
        "batch.micro": 1,
        "batch.accumulation": 1,
        "optimizer.max_grad_norm": 1.0,
        "numerics.precision": "bf16",
        "parallel.strategy": "zero3",
        "parallel.bucket_size": 1000,
        "parallel.optimizer_offload": "nvme",
        "parallel.nvme_path": "/n",
    }


@pytest.mark.parametrize(
    ("trainer", "state"),
    [
        ("axolotl", "SHARDED_STATE_DICT"),
        ("trl", "FULL_STATE_DICT"),
        ("llamafactory", "FULL_STATE_DICT"),
    ],
)
def test_only_a_trainer_that_gathers_the_model_itself_saves_shards(trainer: str, state: str) -> None:
    config = launcher(compiled(trainer, "{strategy: fsdp2}"))
    assert config["fsdp_config"]["fsdp_state_dict_type"] == state
    assert "deepspeed_config" not in config


def test_fsdp_offloads_both_or_none() -> None:
    config = launcher(compiled("llamafactory", "{strategy: fsdp2, offload: {optimizer: cpu, parameters: cpu}}"))
    assert config["fsdp_config"]["fsdp_offload_params"] is True
    config = launcher(compiled("llamafactory", "{strategy: fsdp2, reshard_after_forward: false}"))
    assert config["fsdp_config"]["fsdp_offload_params"] is False
    assert config["fsdp_config"]["fsdp_reshard_after_forward"] is False


def test_with_deepspeed_one_file_says_the_precision() -> None:
    found = compiled("llamafactory", "{strategy: zero3}", ", precision: fp16")
    assert "mixed_precision" not in launcher(found)
    assert launcher(found)["deepspeed_config"] == {"deepspeed_multinode_launcher": "standard", "zero3_init_flag": True}
    assert sharding(found)["bf16"] == {"enabled": False}
    assert sharding(found)["fp16"] == {"enabled": True, "loss_scale": 0, "initial_scale_power": 16}
    assert launcher(compiled("llamafactory", "{strategy: ddp}", ", precision: fp32"))["mixed_precision"] == "no"


def test_what_each_stage_of_zero_has() -> None:
    two = sharding(compiled("llamafactory", "{strategy: zero2, bucket_size: 100, offload: {optimizer: cpu}}"))
    zero = two["zero_optimization"]
    assert (zero["stage"], zero["reduce_bucket_size"], zero["allgather_bucket_size"]) == (2, 100, 100)
    assert zero["offload_optimizer"] == {"device": "cpu", "pin_memory": True}
    assert "offload_param" not in zero
    assert "sub_group_size" not in zero
    assert "fp16" not in two
    zero = sharding(compiled("llamafactory", "{strategy: zero3, bucket_size: 100}"))["zero_optimization"]
    assert (zero["stage"], zero["stage3_prefetch_bucket_size"]) == (3, 90)
    assert "reduce_scatter" not in zero
