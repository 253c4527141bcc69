"""A script of the user's own: what it is told and what its launcher acts on is used, and nothing else."""

import os
import subprocess
from pathlib import Path

import pytest
from effects import misjudged, stage_of

from recipec.diagnostics import errors
from recipec.pipeline import compile_file, compile_tree
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
    """The format of a source that the script is told of is left out: the recipe must name it with the path. So is a whole batch,
    which follows from its parts."""
    assert misjudged(stage_of(RECIPES[name]), ("data.train.0.format", "batch.total")) == {}


def test_deepspeeds_file_is_there_for_who_reads_it() -> None:
    """The launcher of accelerate reads it, or the script that is told of it; a script that is not finds no file."""
    found = {name: {one.file for one in emit(stage_of(RECIPES[name])).documents} for name in RECIPES}
    assert {name for name, files in found.items() if "ds_config.json" in files} == {"zero", "offload", "deepspeed"}
    assert found["shards"] == set()


def test_what_nobody_is_told_has_no_effect() -> None:
    told = recipe("torchrun", f"{OUTPUT}, {STRATEGY}", more="parallel: {strategy: zero3, bucket_size: 1000}\n")
    compiled = compile_tree(read_text(Source("test.yaml", told)))
    assert [f.message for f in errors(compiled.findings)] == ["parallel.bucket_size has no effect on train"]
    there = recipe("torchrun", f"{OUTPUT}, {CONFIG}", more="parallel: {strategy: zero3, bucket_size: 1000}\n")
    assert compile_tree(read_text(Source("test.yaml", there.replace(CONFIG, f"{CONFIG}, {STRATEGY}")))).findings == []


def test_a_source_that_is_told_has_a_format_and_the_other_has_no_effect() -> None:
    text = RECIPES["source"].replace(TEXT, f"{TEXT}, {TEXT}")
    compiled = compile_tree(read_text(Source("test.yaml", text)))
    messages = [found.message for found in errors(compiled.findings)]
    assert messages == [f"data.train[1].{word} has no effect on train" for word in ("path", "format")]


def test_rays_file_says_what_the_plan_says() -> None:
    stage = stage_of(RECIPES["ray"])
    [sheet], [document] = script.SYSTEM.sheets(stage.body, stage.environment), emit(stage).documents
    written = {key: entry.value for key, entry in document.entries.items()}
    assert read_back(sheet.rows, written, sheet.release) == {
        "hardware.world": 4,
        "hardware.device": "gpu",
        "track.run_name": "t-train",
    }
    assert sum(row.back is not None for row in sheet.rows) == 4


def test_a_remark_cannot_leave_its_line(tmp_path: Path) -> None:
    """A key of the plan that an argument asks for is named in a remark behind it."""
    key = "k\\n)\\ntouch PWNED; exit 0\\nx=("
    (tmp_path / "r.yaml").write_text(
        f"""\
recipe: 1
name: t
model: {{base: org/m}}
adapter: {{rank: 8, options: {{"{key}": 1}}}}
trainer: script
script:
  path: train.py
  launcher: torchrun
  arguments:
    output: ${{plan:train.output}}
    model: ${{plan:train.model.path}}
    rank: ${{plan:train.adapter.rank}}
    option: "${{plan:train.adapter.options.{key}}}"
train: {{}}
hardware: {{gpu: none}}
"""
    )
    compiled = compile_file(str(tmp_path / "r.yaml"))
    assert compiled.files, compiled.findings
    bin = tmp_path / "environments" / "trl-1.16.0" / "bin"
    bin.mkdir(parents=True)
    for tool in ("python", "torchrun"):
        (bin / tool).write_text('#!/bin/sh\nprintf "%s\\n" "$@" > words\n')
        (bin / tool).chmod(0o755)
    script = compiled.files["train/run.sh"]
    (tmp_path / "run.sh").write_text(script)
    variables = {"PATH": os.environ["PATH"], "RECIPE_ENVIRONMENTS": "environments"}
    subprocess.run(["bash", "run.sh"], cwd=tmp_path, env=variables, check=True)
    assert not (tmp_path / "PWNED").exists()
    assert (tmp_path / "words").read_text().splitlines()[-2:] == ["--option", "1"]
    assert "# train.adapter.options.k\\n)\\ntouch PWNED" in script


def test_a_script_that_looks_like_an_option_is_refused(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text(
        "recipe: 1\nname: t\ntrainer: script\ntrain: {}\nhardware: {gpu: none}\n"
        "script: {path: -x.py, arguments: {out: '${plan:train.output}'}}\n"
    )
    assert [(one.code, one.help) for one in compile_file(str(tmp_path / "r.yaml")).findings] == [
        ("R005", "expected a path that does not begin with `-`, such as ./-x.py")
    ]


@pytest.mark.parametrize(
    ("batch", "arguments", "told"),
    [
        ("batch_size: 64, micro_batch_size: 16", "{b: '${plan:train.batch.micro}'}", []),
        ("batch_size: 128, micro_batch_size: 16", "{b: '${plan:train.batch.micro}'}", ["P099"]),
        ("batch_size: 128, micro_batch_size: 16", "{b: '${plan:train.batch.micro}', a: '${plan:train.batch.accumulation}'}", []),
        ("batch_size: 64, micro_batch_size: 16", "{}", ["T002", "T002"]),
    ],
)  # fmt: skip
def test_a_whole_batch_is_heard_by_its_parts(batch: str, arguments: str, told: list[str]) -> None:
    text = (
        f"recipe: 1\nname: t\ntrainer: script\nscript: {{path: train.py, launcher: torchrun, arguments: {{o: '${{plan:train.output}}', {arguments[1:]}}}\n"
        f"train: {{{batch}}}\nhardware: {{gpu: a100-80gb, per_node: 4}}\n"
    )
    found = [one.code for one in compile_tree(read_text(Source("t.yaml", text))).findings if one.severity == "error"]
    assert found == told
