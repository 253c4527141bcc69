"""LLaMA-Factory's own code, at the pinned release, judges what we emit for it; and the judge can refuse."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import pytest

from recipec.diagnostics import errors
from recipec.language.model import OtherTemplate
from recipec.pipeline import compile_file
from recipec.systems.llamafactory.data import TEMPLATES

from .test_judges import JUDGES, Sample, compare, verdicts
from .test_recipes import gpu

ROOT = Path(__file__).parents[2]
ENVIRONMENT = "llamafactory-0.9.5-deepspeed"
SIMPO, LORA = (f"recipes/{name}.yaml" for name in ("qwen2-7b-llamafactory-simpo", "llama-3-8b-llamafactory-lora"))
VARIANTS: list[tuple[str, tuple[str, ...]]] = [
    *((str(path.relative_to(ROOT)), ()) for path in sorted((ROOT / "tests/real/llamafactory").glob("*.yaml"))),
    (SIMPO, ()),
    (SIMPO, ("train.method=dpo", "train.margin=null", "train.label_smoothing=0.1", "parallel.strategy=fsdp2")),
    (SIMPO, ("train.method=orpo", "train.margin=null", "hardware.nodes=2", "model.attention=eager")),
    (SIMPO, ("train.method=reward", "train.margin=null", "train.beta=null", "parallel.strategy=ddp", "evaluate=null")),
    (SIMPO, ("train.optimizer=muon", "train.scheduler=cosine_with_min_lr", "train.min_lr_ratio=0.1")),
    (LORA, ()),
    (LORA, ("model.load_in=bf16", "adapter.init=pissa_niter_16", "adapter.dora=true", "train.optimizer=lion")),
    (LORA, ("model.load_in=int8", "adapter.rslora=true", "train.steps=9", "train.epochs=null", "hardware.gpu=l4")),
    (LORA, ("hardware.gpu=t4", "track={tensorboard: true}", "data.packing=false", "data.train_on=all")),
]


@pytest.mark.conformance
def test_llamafactory_accepts_what_we_emit(tool_python: Callable[[str], Path], tmp_path: Path) -> None:
    jobs, launchers = [], []
    for number, (recipe, settings) in enumerate(VARIANTS):
        compiled = compile_file(recipe, settings)
        assert errors(compiled.findings) == [], (recipe, settings)
        assert compiled.resolved is not None
        folder = tmp_path / str(number)
        for name, text in compiled.files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text, encoding="utf-8")
        for stage in compiled.resolved.plan.of_kind("train"):
            here, machine = folder / stage.name, stage.body.hardware
            job = {"file": str(here / "llamafactory.yaml"), "cwd": str(here), "world": machine.world}
            jobs.append({**job, "gpu": gpu(machine)})
            if (here / "accelerate.yaml").exists():
                more = ["--main_process_ip", "10.0.0.1"] if machine.nodes > 1 else []  # as run.sh does
                launchers.append({**job, "file": str(here / "accelerate.yaml"), "arguments": more})
    for tool, asked in (("llamafactory", jobs), ("accelerate", launchers)):
        done = subprocess.run(
            [tool_python(ENVIRONMENT), JUDGES / f"{tool}.py"],
            input=json.dumps(asked),
            capture_output=True,
            text=True,
            timeout=900,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        found = json.loads(done.stdout)
        assert len(found) == len(asked)
        assert [verdict for verdict in found if not verdict["ok"]] == []


BASE = """
model_name_or_path: m
stage: sft
do_train: true
finetuning_type: lora
dataset: rows
template: chatml
output_dir: o
use_cpu: true
"""
SAMPLES = [
    Sample("good", BASE),
    Sample("unknown-key", BASE + "lora_rnak: 8\n", "lora_rnak"),
    Sample("wrong-type", BASE + "lora_rank: eight\n", "lora_rank"),
    Sample("wrong-choice", BASE.replace("stage: sft", "stage: grpo"), "stage"),
    Sample("wrong-template", BASE.replace("chatml", "chatlm"), "chatlm"),
    Sample("contradiction", BASE + "quantization_bit: 4\npissa_init: true\n", "PiSSA"),
    Sample("wrong-optimiser", BASE + "optim: adamv\n", "adamv"),
    Sample(
        "bf16-on-a-t4", BASE.replace("use_cpu: true\n", "bf16: true\n"), "bf16", {"gpu": {"sm": "sm_75", "bf16": False}}
    ),
]


@pytest.mark.conformance
def test_the_judge_refuses(tool_python: Callable[[str], Path], tmp_path: Path) -> None:
    compare(SAMPLES, verdicts(tool_python(ENVIRONMENT), "llamafactory", SAMPLES, tmp_path))


@pytest.mark.conformance
@pytest.mark.parametrize(
    ("entry", "refusal"),
    [
        ({"file_name": "x.jsonl", "columns": {"promt": "q"}}, "rows.columns.promt"),
        ({"file_name": "x.jsonl", "tags": {"user": "q"}}, "rows.tags.user"),
        ({"file_name": "x.jsonl", "formatting": "sharedgpt"}, "sharedgpt"),
    ],
)
def test_the_judge_refuses_a_list_of_data(
    entry: dict[str, object], refusal: str, tool_python: Callable[[str], Path], tmp_path: Path
) -> None:
    (tmp_path / "dataset_info.json").write_text(json.dumps({"rows": entry}), encoding="utf-8")
    samples = [Sample("listed", BASE, refusal)]
    compare(samples, verdicts(tool_python(ENVIRONMENT), "llamafactory", samples, tmp_path))


NAMES = "from llamafactory.data.template import TEMPLATES; print(*sorted(TEMPLATES))"


@pytest.mark.conformance
def test_the_names_of_its_templates_are_its_own(tool_python: Callable[[str], Path]) -> None:
    done = subprocess.run(
        [tool_python(ENVIRONMENT), "-c", NAMES], capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr[-3000:]
    theirs = set(done.stdout.split())
    assert set(get_args(OtherTemplate)) <= theirs
    assert set(TEMPLATES.values()) <= theirs
    assert theirs <= {*TEMPLATES.values(), *TEMPLATES}


LOSSES = """
import torch, types
from llamafactory.train.dpo.trainer import CustomDPOTrainer as Trainer
pairs = [torch.tensor(x) for x in ([-9.0, -4.0], [-7.0, -8.0], [-8.5, -4.5], [-7.5, -7.0])]
for loss in ("sigmoid", "hinge", "ipo"):
    t = Trainer.__new__(Trainer)
    t.finetuning_args = types.SimpleNamespace(use_ref_model=True)
    t.accelerator = types.SimpleNamespace(device="cpu")
    t.loss_type, t.beta, t.label_smoothing, t.bco_gemma = loss, 0.1, 0.0, 0.0
    t.reference_free, t.f_divergence_type, t.use_weighting = False, "reverse_kl", False
    print(t.compute_preference_loss(*pairs)[0].tolist())
"""


@pytest.mark.conformance
def test_hinge_and_ipo_are_sigmoid_there(tool_python: Callable[[str], Path]) -> None:
    """Why they are refused: it does not hand the name of the loss on to TRL, which takes sigmoid then."""
    done = subprocess.run(
        [tool_python(ENVIRONMENT), "-c", LOSSES], capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr[-3000:]
    sigmoid, hinge, ipo = done.stdout.strip().splitlines()[-3:]
    assert sigmoid == hinge == ipo
