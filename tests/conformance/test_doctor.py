"""Doctor against the tools' own code: over files that others wrote, over the same with a typing mistake everywhere, and rule by rule.

A false alarm is an error that doctor reports on a file which the tool at that release accepts without dropping anything.
"""

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from doctor.overlaid import laid, overlaid, write
from doctor.test_kinds import refusals

from recipec.diagnostics import errors
from recipec.doctor import Examined, examine
from recipec.doctor.reading import read
from recipec.source import Source, plain
from recipec.yaml_reader import read_utf8

from .test_judges import JUDGES

ROOT = Path(__file__).parents[2]
CORPUS = ROOT.parent / "shared" / "corpus"
ENVIRONMENTS = {
    "axolotl": "axolotl-0.21.0",
    "llamafactory": "llamafactory-0.9.5-deepspeed",
    "trl": "trl-1.16.0-deepspeed",
    "deepspeed": "trl-1.16.0-deepspeed",
    "accelerate": "trl-1.16.0-deepspeed",
    "lm_eval": "trl-1.16.0-deepspeed",
}
GPU = {"sm": "sm_90", "count": 1, "bf16": True, "fp8": True, "nodes": 1}
# What a tool stops at because of this machine, or of a package that is not in its environment: nothing in the file.
NOT_THE_FILE = (
    "is not installed",
    "No package metadata",
    "does not support `pure_bf16`",
    "Please use `FORCE_TORCHRUN=1`",
    "Expected a string path to an existing deepspeed config",
    "} of 8 processes",  # the example is for more GPUs than the judge is told
)
TYPO = "mistyped_key"

pytestmark = pytest.mark.conformance


def corpus(folder: str, tool: str) -> dict[str, Examined]:
    """Return what doctor says of every file of a folder of the corpus that it takes for a tool's. Skips without a corpus."""
    if not CORPUS.is_dir():
        pytest.skip("no corpus beside the project")
    files = sorted(str(path) for path in (CORPUS / folder).rglob("*") if path.suffix in (".yaml", ".yml", ".json"))
    found = {file: examine([file], one_by_one=True) for file in files}
    return {file: one for file, one in found.items() if [guess.tool for _, guess in one.recognised] == [tool]}


def asked(python: Path, judge: str, jobs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return a judge's verdicts."""
    command: list[Any] = [python, JUDGES / f"{judge}.py"]
    done = subprocess.run(command, input=json.dumps(jobs), capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    verdicts: list[dict[str, Any]] = json.loads(done.stdout)
    return verdicts


def dead(examined: Examined) -> set[str]:
    """Return the keys that doctor says have no effect, as the judges spell them."""
    found = {f.message.split(": ")[1] for f in errors(examined.findings) if f.code == "T020"}
    return {re.sub(r"\[(\d+)\]", r".\1", path) for path in found}


def mistyped(value: Any) -> Any:
    """Return a document with one key too many in every mapping."""
    if isinstance(value, dict):
        return {**{key: mistyped(child) for key, child in value.items()}, TYPO: 1}
    return [mistyped(child) for child in value] if isinstance(value, list) else value


def copies(files: dict[str, Examined], folder: Path) -> dict[str, Examined]:
    """Write every file anew with a key too many in every mapping, and let doctor look at it."""
    found = {}
    for number, (file, examined) in enumerate(files.items()):
        values = mistyped(plain(read(Source(file, read_utf8(file))).tree))
        path = write(folder / str(number), examined.recognised[0][1].tool, "sft", values)
        path = path.rename(path.with_suffix(Path(file).suffix))
        found[str(path)] = examine([str(path)], one_by_one=True)
    return found


def test_axolotl_drops_what_doctor_says_it_drops(tool_python: Callable[[str], Path], tmp_path: Path) -> None:
    files = corpus("axolotl/examples", "axolotl")
    assert len(files) > 100
    files = copies(files, tmp_path)  # which hold the dead keys of the files too
    verdicts = asked(tool_python("axolotl-0.21.0"), "axolotl_fields", [{"file": file} for file in files])
    different = {}
    for verdict in verdicts:
        assert verdict["error"] is None
        mine = dead(files[verdict["file"]])
        refused = {
            f.message.split(": ")[1] for f in files[verdict["file"]].findings if "is no longer read" in f.message
        }
        if mine - refused != set(verdict["unknown"]):
            different[verdict["file"]] = (sorted(mine), verdict["unknown"])
    assert different == {}
    assert sum(len(verdict["unknown"]) for verdict in verdicts) > 2 * len(files)


def test_no_false_alarm_on_axolotl_files(tool_python: Callable[[str], Path]) -> None:
    files = corpus("axolotl/examples", "axolotl")
    jobs = [{"file": file, "gpu": {**GPU, "count": 8}} for file in files]
    verdicts = asked(tool_python("axolotl-0.21.0"), "axolotl", jobs)
    assert [v["file"] for v in verdicts if v["ok"] and errors(files[v["file"]].findings)] == []
    missed = [v for v in verdicts if v["error"] and not errors(files[v["file"]].findings)]
    assert [v for v in missed if not any(reason in v["error"] for reason in NOT_THE_FILE)] == []


def test_llamafactory_refuses_what_doctor_says_is_dead(tool_python: Callable[[str], Path], tmp_path: Path) -> None:
    files = corpus("llamafactory/examples", "llamafactory")
    assert len(files) > 15
    changed = copies(files, tmp_path)
    jobs = [{"file": file, "gpu": GPU, "world": 1} for file in (*files, *changed)]
    told = 0
    for verdict in asked(tool_python("llamafactory-0.9.5-deepspeed"), "llamafactory", jobs):
        examined = {**files, **changed}[verdict["file"]]
        error = verdict["error"] or ""
        said = re.search(r"Some keys are not used by the HfArgumentParser: \[(.*?)\]", error)
        if said is None and any(reason in error for reason in NOT_THE_FILE):
            continue  # it did not get as far as the keys
        top = {key for key in dead(examined) if "." not in key}
        assert top == set(re.findall(r"'(\w+)'", said[1] if said else "")), verdict
        told += 1
        if not error:
            assert errors(examined.findings) == [], verdict["file"]
        else:
            assert errors(examined.findings), verdict
    assert told > len(files)


def test_trl_refuses_what_doctor_says_is_dead(tool_python: Callable[[str], Path], tmp_path: Path) -> None:
    files = corpus("trl/recipes", "trl")
    assert files
    jobs = [
        {"file": file, "command": one.recognised[0][1].document, "gpu": GPU, "world": 1} for file, one in files.items()
    ]
    for verdict in asked(tool_python("trl-1.16.0-deepspeed"), "trl", jobs):
        unknown = set(re.findall(r"'--(\w+)', ", verdict["error"]))
        assert dead(files[verdict["file"]]) == unknown
        assert {f.code for f in errors(files[verdict["file"]].findings)} == {"T020"}


def without_auto(value: Any) -> Any:
    """Return a DeepSpeed file as the trainer hands it on, but for the numbers that it fills in."""
    if isinstance(value, dict):
        return {key: without_auto(child) for key, child in value.items() if child != "auto"}
    return value


def test_deepspeed_ignores_or_refuses_what_doctor_says_is_dead(
    tool_python: Callable[[str], Path], tmp_path: Path
) -> None:
    files = corpus("axolotl/deepspeed_configs", "deepspeed") | corpus("llamafactory/examples", "deepspeed")
    assert len(files) > 5
    jobs, given = [], list(files)
    for number, file in enumerate(given):
        values = without_auto(json.loads(Path(file).read_text(encoding="utf-8")))
        path = write(tmp_path / str(number), "deepspeed", "", {"train_batch_size": 8, **values})
        jobs.append({"file": str(path), "world": 8})
    for file, verdict in zip(given, asked(tool_python("trl-1.16.0-deepspeed"), "deepspeed", jobs), strict=True):
        if verdict["error"]:
            assert "Extra inputs are not permitted" in verdict["error"], (file, verdict)
            assert errors(files[file].findings), (file, verdict)
        else:
            assert dead(files[file]) == set(verdict["unknown"]), (file, verdict)


@pytest.mark.parametrize("tool", ENVIRONMENTS)
def test_the_tool_itself_stops_where_a_rule_says_so(
    tool: str, tool_python: Callable[[str], Path], tmp_path: Path
) -> None:
    rows = [row for row in overlaid() if row.tool == tool]
    jobs = []
    for row in rows:
        for state, values in (("bad", row.bad), ("good", row.good)):
            path = write(tmp_path / row.code / state, tool, row.document, values)
            (path.parent / "ds.json").write_text('{"zero_optimization": {"stage": 2}}', encoding="utf-8")
            job = {"file": str(path), "cwd": str(path.parent), "gpu": GPU, "command": row.document}
            jobs.append(job if tool == "accelerate" else {**job, "world": 4 if tool == "deepspeed" else 1})
    verdicts = iter(asked(tool_python(ENVIRONMENTS[tool]), tool, jobs))
    wrong = []
    for row in rows:
        bad, good = next(verdicts), next(verdicts)
        if not good["ok"]:
            wrong.append((row.code, "good", good))
        if row.refused is not None and row.refused is not (bad["error"] is not None):
            wrong.append((row.code, "bad", bad))
    assert wrong == []


@pytest.mark.parametrize("release", ["0.21.0", "0.19.0", "0.17.0"])
def test_axolotl_refuses_what_doctor_says_it_refuses(
    release: str, tool_python: Callable[[str], Path], tmp_path: Path
) -> None:
    """Every condition of Axolotl's validators: it refuses the one file and takes the other, and so does doctor of that release."""
    jobs, mine = [], []
    for number, row in enumerate(refusals()):
        for state in ("bad", "good"):
            path = write(tmp_path / str(number) / state, "axolotl", "", laid("axolotl", row[state]))
            (path.parent / "ds.json").write_text('{"zero_optimization": {"stage": 2}}', encoding="utf-8")
            jobs.append({"file": str(path), "cwd": str(path.parent), "gpu": {**GPU, "count": 8}})
            codes = {finding.code for finding in errors(examine([str(path)], [f"axolotl-{release}"]).findings)}
            mine.append((row["code"] in codes, bool(codes - {"T020"})))
    different = []
    for job, (said, wrong), verdict in zip(
        jobs, mine, asked(tool_python(f"axolotl-{release}"), "axolotl", jobs), strict=True
    ):
        error = verdict["error"] or ""
        if "has no attribute 'get'" in error:  # 0.17 stumbles over every file of EBFT
            continue
        if bool(error) != wrong or (said and not error):
            different.append((job["file"], said, error))
    assert different == []


BESIDE: list[dict[str, Any]] = [
    {},
    {"train_micro_batch_size_per_gpu": 4},
    {"train_micro_batch_size_per_gpu": 2},
    {"gradient_accumulation_steps": 8},
    {"gradient_clipping": 0.3},
    {"gradient_clipping": 1.0},
    {"fp16": {"enabled": True}},
    {"bf16": {"enabled": False}},
    {"bf16": {"enabled": True}},
    {"bf16": {"enabled": "auto"}},
]


def test_the_trainer_refuses_numbers_that_disagree(tool_python: Callable[[str], Path], tmp_path: Path) -> None:
    """What doctor says of a `ds_config.json` beside a trainer's file, or of the same inside it, is what transformers says."""
    arguments = {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 4, "bf16": True}
    trainer = write(tmp_path, "trl", "sft", {"model_name_or_path": "m", "deepspeed": "ds_config.json", **arguments})
    jobs, mine, inside = [], [], []
    for number, over in enumerate(BESIDE):
        path = write(tmp_path / str(number), "deepspeed", "", {"zero_optimization": {"stage": 2}, **over})
        jobs.append({"file": str(path), "arguments": arguments})
        mine.append(not errors(examine([str(trainer), str(path)]).findings))
        mapping = {"zero_optimization": {"stage": 2}, **over}
        one = write(
            tmp_path / str(number), "trl", "sft", {"model_name_or_path": "m", "deepspeed": mapping, **arguments}
        )
        inside.append(not errors(examine([str(one)]).findings))
    theirs = asked(tool_python("trl-1.16.0-deepspeed"), "trainer_deepspeed", jobs)
    assert mine == inside == [verdict["ok"] for verdict in theirs]
    assert True in mine
    assert False in mine


def test_the_trainers_take_a_mapping_for_deepspeed(tool_python: Callable[[str], Path], tmp_path: Path) -> None:
    """A mapping below `deepspeed:` reaches the trainer as one, so that doctor judges it as DeepSpeed's file."""
    inside = {"deepspeed": {"zero_optimization": {"stage": 2}}}
    for tool, values in {
        "axolotl": {"base_model": "m", "learning_rate": 1e-4, "micro_batch_size": 1, "gradient_accumulation_steps": 1},
        "trl": {"model_name_or_path": "m", "output_dir": "out"},
        "llamafactory": {
            "model_name_or_path": "m",
            "stage": "sft",
            "do_train": True,
            "dataset": "x",
            "template": "qwen",
        },
    }.items():
        rows = [{"path": "rows.jsonl", "ds_type": "json", "type": "alpaca"}]
        more = {"datasets": rows} if tool == "axolotl" else {"datasets": [{"path": "rows"}]} if tool == "trl" else {}
        path = write(tmp_path, tool, "sft", {**values, **more, **inside})
        assert [guess.tool for _, guess in examine([str(path)]).recognised] == [tool, "deepspeed"]
        job = {"file": str(path), "command": "sft", "gpu": GPU, "world": 1, "cwd": str(tmp_path)}
        environment = "axolotl-0.21.0-deepspeed" if tool == "axolotl" else ENVIRONMENTS[tool]
        (verdict,) = asked(tool_python(environment), tool, [job])
        assert verdict["ok"] or any(reason in verdict["error"] for reason in NOT_THE_FILE), (tool, verdict)


BOTH = {"lora_modules_to_save": ["embed_tokens", "lm_head"]}
NEW: list[tuple[dict[str, Any], str]] = [
    ({"tokens": ["<new>"]}, "refused"),
    ({"tokens": ["<new>"], "lora_modules_to_save": ["embed_tokens"]}, "refused"),
    ({"tokens": ["<new>"], **BOTH}, "added"),
    ({"tokens": ["<|eot_id|>"]}, "refused"),  # it does not look whether the model has it
    ({"special_tokens": {"eos_token": "<|im_end|>"}}, "refused"),
    ({"special_tokens": {"eos_token": "<|im_end|>"}, **BOTH}, "added"),
    ({"special_tokens": {"eos_token": "<|eot_id|>"}}, "nothing"),
    ({"special_tokens": {"pad_token": "<|pad|>"}}, "added"),
    ({"special_tokens": {"additional_special_tokens": ["<|im_end|>"]}}, "added"),
]


def test_axolotl_refuses_tokens_that_stay_untrained(tool_python: Callable[[str], Path], tmp_path: Path) -> None:
    jobs = [
        {"file": str(tmp_path / str(number)), "values": {"adapter": "lora", **values}}
        for number, (values, _) in enumerate(NEW)
    ]
    verdicts = asked(tool_python("axolotl-0.21.0"), "axolotl_tokens", jobs)
    theirs = ["refused" if v["error"] else "added" if v["unknown"] else "nothing" for v in verdicts]
    assert theirs == [said for _, said in NEW], verdicts
    assert all("lora_modules_to_save" in v["error"] for v in verdicts if v["error"])
    for values, said in NEW:
        file = {"base_model": "meta-llama/Llama-3.2-1B", "learning_rate": 1e-4, "adapter": "lora", **values}
        rows = [{"path": "rows.jsonl", "ds_type": "json", "type": "alpaca"}]
        more = {"datasets": rows, "micro_batch_size": 1, "gradient_accumulation_steps": 1}
        found = examine([str(write(tmp_path, "axolotl", "", file | more))]).findings
        assert bool(errors(found)) is (said == "refused"), values
