"""GPUs by the names that people, drivers and clouds have for them, and by what a recipe says of an unknown one."""

from typing import Any

import pytest

from recipec.facts import gpus
from recipec.facts.gpu_names import declared, named
from recipec.pipeline import Compiled, compile_tree
from recipec.plan import Hardware
from recipec.source import Source
from recipec.yaml_reader import read_text

RECIPE = """recipe: 1
name: gpu
model: {base: meta-llama/Llama-3.1-8B-Instruct}
adapter: {rank: 8}
data: {train: [{hub: lab/x, format: chat}]}
train: {learning_rate: 1e-4}
hardware: HARDWARE
"""


def compiled(hardware: str) -> Compiled:
    return compile_tree(read_text(Source("gpu.yaml", RECIPE.replace("HARDWARE", hardware))))


def machine(hardware: str) -> Hardware:
    result = compiled(hardware)
    assert result.findings == []
    assert result.resolved is not None
    return result.resolved.plan.hardware


@pytest.mark.parametrize(
    ("name", "id"),
    [
        ("H100", "h100-80gb"), ("h100", "h100-80gb"), ("NVIDIA H100 80GB HBM3", "h100-80gb"), ("H100-SXM5-80GB", "h100-80gb"),
        ("H100 PCIe", "h100-80gb"), ("NVIDIA H100 NVL", "h100-nvl-94gb"), ("H200", "h200-141gb"), ("NVIDIA B200", "b200-180gb"),
        ("A100-80GB", "a100-80gb"), ("A100 40GB", "a100-40gb"), ("NVIDIA A100-SXM4-80GB", "a100-80gb"), ("a100-80g", "a100-80gb"),
        ("NVIDIA A100 80GB PCIe", "a100-80gb"), ("4090", "rtx-4090"), ("RTX 4090", "rtx-4090"), ("RTX4090", "rtx-4090"),
        ("NVIDIA GeForce RTX 4090", "rtx-4090"), ("rtx_4090", "rtx-4090"), ("3090ti", "rtx-3090-ti"), ("Tesla T4", "t4"),
        ("RTX 4060 Ti 16GB", "rtx-4060-ti-16gb"), ("A6000", "rtx-a6000"), ("NVIDIA RTX 6000 Ada Generation", "rtx-6000-ada"),
        ("L40S", "l40s"), ("NVIDIA L4", "l4"), ("A10G", "a10g"), ("A10", "a10"), ("Tesla V100-SXM2-32GB", "v100-32gb"), ("cpu", "none"),
    ],
)  # fmt: skip
def test_a_name_that_people_use(name: str, id: str) -> None:
    found = named(name).gpu
    assert found is not None
    assert found.name == id


@pytest.mark.parametrize("name", gpus())
def test_an_id_is_itself(name: str) -> None:
    assert named(name) == (gpus()[name], None, ())
    loud = named(name.upper()).gpu
    assert loud is not None
    assert loud.name == name


@pytest.mark.parametrize(
    ("name", "choices"),
    [
        ("a100", ("a100-40gb", "a100-80gb")),
        ("V100", ("v100-16gb", "v100-32gb")),
        ("RTX 3080", ("rtx-3080-10gb", "rtx-3080-12gb")),
    ],
)
def test_a_name_of_several_is_asked_about(name: str, choices: tuple[str, ...]) -> None:
    assert named(name).choices == choices
    (told,) = compiled(f"{{gpu: {name}}}").findings
    assert (told.code, told.suggestion, told.help) == ("P001", choices[1], f"write {' or '.join(choices)}")


@pytest.mark.parametrize("name", ["mi300x", "m3-max", "x", "100", "a100-60gb", "4091", "rtx", "80gb", "H100:0x", "ti"])
def test_others_are_not_known(name: str) -> None:
    assert named(name).gpu is None


@pytest.mark.parametrize("name", ["h100:8", "8xH100", "8 x H100 80GB", "H100 x8", "H100*8"])
def test_a_number_of_gpus(name: str) -> None:
    there = machine(f"{{gpu: '{name}'}}")
    assert (there.gpu, there.per_node, there.world) == ("h100-80gb", 8, 8)
    assert machine(f"{{gpu: '{name}', per_node: 8, nodes: 2}}").world == 16
    assert [one.code for one in compiled(f"{{gpu: '{name}', per_node: 4}}").findings] == ["P273"]


def test_a_number_is_a_name() -> None:
    assert machine("{gpu: 4090}").gpu == "rtx-4090"


@pytest.mark.parametrize(("memory", "gib"), [("48GB", 48), ("48 GiB", 48), ("47.5G", 47), (32, 32)])
def test_a_gpu_that_is_not_listed(memory: Any, gib: int) -> None:
    there = machine(f"{{gpu: {{name: rtx-5000-ada, memory: {memory}, compute_capability: 8.9}}}}")
    assert (there.gpu, there.memory_gib, there.sm, there.bf16, there.device) == ("rtx-5000-ada", gib, 89, True, "gpu")
    assert declared("old", memory, 7.5).bf16 is False


def test_rules_judge_what_is_declared() -> None:
    small = "{gpu: {name: small, memory: 4GB, compute_capability: 7.5}}"
    assert [one.code for one in compiled(small).findings] == ["L015"]
    text = RECIPE.replace("1e-4}", "1e-4, precision: bf16}").replace("HARDWARE", small)
    assert [one.code for one in compile_tree(read_text(Source("gpu.yaml", text))).findings] == ["P030"]


@pytest.mark.parametrize(
    ("gpu", "codes"),
    [
        ("{name: x, memory: 48GB}", ["R002"]),
        ("{name: x, memory: lots, compute_capability: 8.9}", ["R005"]),
        ("{name: x, memory: 48GB, compute_capability: 89}", ["R005"]),
        ("{name: x, memory: 48GB, compute_capability: 8.9, sm: 89}", ["R001"]),
        ("[h100]", ["R004"]),
    ],
)
def test_what_is_wrong_in_a_declaration(gpu: str, codes: list[str]) -> None:
    assert [one.code for one in compiled(f"{{gpu: {gpu}}}").findings] == codes
