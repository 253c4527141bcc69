"""A script of the user's own: what it is told and what its launcher acts on is used, and nothing else."""

import pytest
from effects import misjudged, stage_of

from recipec.diagnostics import errors
from recipec.pipeline import compile_tree
from recipec.source import Source
from recipec.systems import script
from recipec.systems.emit import emit
from recipec.systems.read_back import read_back
from recipec.yaml_reader import read_text

OUTPUT = 'output: "${plan:train.output}"'
CONFIG = 'deepspeed: "${file:ds_config.json}"'
STRATEGY = 'how: "${plan:train.parallel.strategy}"'
TOLD = 'lr: "x${plan:train.optimizer.learning_rate}y", micro: "${plan:train.batch.micro}", compile: "${plan:train.numerics.torch_compile}"'
TEXT = "{path: a.jsonl, format: text}"
SOURCE = 'rows: "${plan:train.data.train.0.path}"'


def recipe(
    launcher: str,
    arguments: str = OUTPUT,
    *,
    more: str = "",
    hardware: str = "{gpu: a100-80gb, per_node: 4}",
) -> str:
    """Return a recipe whose script has these arguments."""
    rate = ", learning_rate: 1e-4" if "learning_rate" in arguments else ""
    return (
        f"recipe: 1\nname: t\ntrainer: script\nhardware: {hardware}\n"
        f"script: {{path: train.py, launcher: {launcher}, arguments: {{{arguments}}}}}\n"
        f"train: {{method: sft{rate}}}\n{more}"
    )


ZERO = "parallel: {strategy: zero3}\n"
RECIPES = {
    "accelerate": recipe("accelerate"),
    "fsdp": recipe("accelerate", more="parallel: {strategy: fsdp2, offload: {optimizer: cpu, parameters: cpu}}\n"),
    "zero": recipe("accelerate", f"{OUTPUT}, {TOLD}", more=ZERO),
    "offload": recipe("accelerate", more="parallel: {strategy: zero3, offload: {optimizer: nvme, nvme_path: /nvme}}\n"),
    "torchrun": recipe("torchrun", f"{OUTPUT}, {TOLD}", hardware="{gpu: a100-80gb, per_node: 4, nodes: 2}"),
    "alone": recipe("torchrun", hardware="{gpu: none}"),
    "shards": recipe("torchrun", f"{OUTPUT}, {STRATEGY}", more=ZERO),
    "source": recipe("torchrun", f"{OUTPUT}, {SOURCE}", more=f"data: {{train: [{TEXT}]}}\n"),
    "deepspeed": recipe("deepspeed", f"{OUTPUT}, {CONFIG}", more=ZERO),
    "cpu": recipe("deepspeed", hardware="{gpu: none}"),
    "ray": recipe("ray", f"{OUTPUT}, {TOLD}"),
}


@pytest.mark.parametrize("name", RECIPES)
def test_what_counts_as_used_acts_and_the_reverse(name: str) -> None:
    """The format of a source that the script is told of is left out: the recipe must name it with the path."""
    assert misjudged(stage_of(RECIPES[name]), ("data.train.0.format",)) == {}


def test_deepspeeds_file_is_there_for_who_reads_it() -> None:
    """The launcher of accelerate reads it, or the script that is told of it; a script that is not finds no file."""
    found = {name: {one.file for one in emit(stage_of(RECIPES[name])).documents} for name in RECIPES}
    assert {name for name, files in found.items() if "ds_config.json" in files} == {"zero", "offload", "deepspeed"}
    assert found["shards"] == set()


def test_what_nobody_is_told_has_no_effect() -> None:
    told = recipe("torchrun", f"{OUTPUT}, {STRATEGY}", more="parallel: {strategy: zero3, bucket_size: 1000}\n")
    compiled = compile_tree(read_text(Source("test.yaml", told)))
    assert [f.message for f in errors(compiled.findings)] == ["parallel.bucket_size has no effect on 10-train"]
    there = recipe("torchrun", f"{OUTPUT}, {CONFIG}", more="parallel: {strategy: zero3, bucket_size: 1000}\n")
    assert compile_tree(read_text(Source("test.yaml", there.replace(CONFIG, f"{CONFIG}, {STRATEGY}")))).findings == []


def test_a_source_that_is_told_has_a_format_and_the_other_has_no_effect() -> None:
    text = RECIPES["source"].replace(TEXT, f"{TEXT}, {TEXT}")
    compiled = compile_tree(read_text(Source("test.yaml", text)))
    messages = [found.message for found in errors(compiled.findings)]
    assert messages == [f"data.train[1].{word} has no effect on 10-train" for word in ("path", "format")]


def test_rays_file_says_what_the_plan_says() -> None:
    stage = stage_of(RECIPES["ray"])
    [sheet], [document] = script.SYSTEM.sheets(stage.body, stage.environment), emit(stage).documents
    written = {key: entry.value for key, entry in document.entries.items()}
    assert read_back(sheet.rows, written, sheet.release) == {"hardware.world": 4, "hardware.device": "gpu"}
    assert sum(row.back is not None for row in sheet.rows) == 3
