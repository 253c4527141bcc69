"""Tiny models really train by TRL, from the emitted files: every method, every kind of adapter, and several processes.

Most of a run is imports, so one process goes through all methods, and one through all adapters, each stage by the
emitted script, or by the command's own parser and main function on the emitted YAML. A few run by their `run.sh`.
"""

import csv
import json
import math
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest
from meeting import alone, extensions, run_script
from ruamel.yaml import YAML

from recipec.language.model import AdapterType
from recipec.output import write
from recipec.pipeline import compile_file
from recipec.systems.trl import COMMANDS, SYSTEM

HERE = Path(__file__).parent
RECIPES = sorted((HERE / "trl").glob("*.yaml"))
ENVIRONMENT, OLDER = "trl-1.16.0-deepspeed", "trl-1.9.0"
WORDS = ["tea", "coffee", "milk", "juice", "water", "cocoa", "lemonade", "cider", "soda", "smoothie"]
# Sizes that fit a model whose layers are 32 wide.
OPTIONS = {"vblora": "{vector_length: 16, num_vectors: 8}", "fourierft": "{n_frequency: 50}"}
RANKED = ("lora", "adalora", "loha", "lokr", "oft", "hra", "vera", "bone")
INITS = ("gaussian", "orthogonal", "olora", "pissa", "pissa_niter_4", "eva")  # loftq needs a GPU
ADAPTERS = {
    **{
        kind: f"{{type: {kind}{', rank: 4' * (kind in RANKED)}, options: {OPTIONS.get(kind, '{}')}}}"
        for kind in get_args(AdapterType)
    },
    **{f"init-{init}": f"{{rank: 4, init: {init}}}" for init in INITS},
    "nf4": "{rank: 4}",
    "int8": "{rank: 4}",
    "dora": "{rank: 4, dora: true, rslora: true, dropout: 0.1, also_train: [lm_head], options: {bias: lora_only}}",
}
ADAPTER_RECIPE = """
recipe: 1
name: {name}
trainer: trl
model:
  from_scratch: {{family: llama, hidden_size: 32, layers: 2, heads: 2, vocab_size: 400}}
  max_length: 256
  load_in: {load}
adapter: {adapter}
data: {{train: [{{path: data/instructions.jsonl, format: instruction}}]}}
train: {{steps: 2, micro_batch_size: 2, learning_rate: 1e-2}}
hardware: {{gpu: none}}
allow: {{finish-without-beginning: a tiny model}}
"""
# What stands for `run.sh`: each stage in one process. A plain adapter must work over the base as it was.
DRIVER = """
import importlib, json, runpy, shutil, sys, traceback
from pathlib import Path

first, verdicts, compare = None, {}, "adapters" in sys.argv
for name, command in json.loads(sys.argv[1]):
    folder, run = Path("build", name, "train"), Path("runs", name)
    try:
        if first is None:
            first = run / "init"
            sys.argv = ["init_model.py", str(folder.parent / "init" / "init.json")]
            runpy.run_path(str(folder.parent / "init" / "init_model.py"), run_name="__main__")
        else:
            shutil.copytree(first, run / "init")
        for beside in ("rows", "rewards"):
            sys.modules.pop(beside, None)
        sys.path.insert(0, str(folder.resolve()))
        if (folder / "train.py").exists():
            trained = runpy.run_path(str(folder / "train.py"), run_name="__main__")["trainer"].model
        else:
            script, trained = importlib.import_module(f"trl.scripts.{command}"), None
            script.main(*script.make_parser().parse_args_and_config(["--config", str(folder / "trl.yaml")]))
        sys.path.pop(0)
        verdicts[name] = None
        if compare:
            import torch
            from peft import PeftModel
            from transformers import AutoModelForCausalLM
            base = AutoModelForCausalLM.from_pretrained(run / "init")
            plain = PeftModel.from_pretrained(base, run / "train").eval()
            ids = torch.arange(5, 25)[None]
            untouched = AutoModelForCausalLM.from_pretrained(run / "init")
            with torch.no_grad():
                learners = plain if name == "nf4" else trained.eval()  # bitsandbytes repacks 4-bit weights on a CPU
                now, then, learnt = (m(input_ids=ids).logits[:, -20:] for m in (plain, untouched, learners))
            verdicts[name] = [(now - learnt).abs().max().item(), (now - then).abs().max().item()]
    except BaseException:
        verdicts[name] = traceback.format_exc()[-1500:]
Path("verdicts.json").write_text(json.dumps(verdicts))
"""


def lines(path: Path, rows: list[dict[str, Any]]) -> None:
    """Write rows as JSON lines."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a little data of every format."""
    folder = tmp_path_factory.mktemp("trl") / "data"
    folder.mkdir()
    pairs = [(f"Is {word} a drink, number {i}?", f" Yes, {word} is a drink.") for i in range(4) for word in WORDS]
    asked = [[{"role": "user", "content": question}] for question, _ in pairs]

    def said(text: str) -> dict[str, str]:
        return {"role": "assistant", "content": text}

    lines(folder / "instructions.jsonl", [{"instruction": q, "input": "", "output": a} for q, a in pairs])
    turns = [[*pair, ("more?", "No.")] for pair in [[pair] for pair in pairs]]
    lines(
        folder / "chats.jsonl",
        [
            {"conversations": [{"from": f, "value": t} for q, a in rows for f, t in (("human", q), ("gpt", a))]}
            for rows in turns
        ],
    )
    lines(folder / "texts.jsonl", [{"text": f"{q}{a} " * 9} for q, a in pairs])
    lines(folder / "pairs.jsonl", [{"prompt": q, "chosen": a, "rejected": " No."} for q, a in pairs])
    lines(
        folder / "talks.jsonl",
        [{"messages": m, "chosen": said(a), "rejected": said("No.")} for m, (_, a) in zip(asked, pairs, strict=True)],
    )
    lines(
        folder / "labels.jsonl",
        [{"prompt": q, "completion": a, "label": bool(i % 2)} for i, (q, a) in enumerate(pairs)],
    )
    lines(folder / "prompts.jsonl", [{"prompt": q, "answer": "yes"} for q, _ in pairs])
    lines(folder / "asked.jsonl", [{"prompt": m, "answer": "yes"} for m in asked])
    with (folder / "completions.csv").open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([("prompt", "completion"), *pairs])
    (folder / "own.py").write_text(
        "def vowels(completions, prompts, answers):\n    return [sum(c in 'aeiou' for c in text) / 9 for text in completions]\n"
    )
    return folder


def place(folder: Path, data: Path, environments: dict[str, Path]) -> dict[str, str]:
    """Lay data and environments where emitted scripts look for them; return the variables of a run."""
    (folder / "data").symlink_to(data)
    (folder / "environments").mkdir()
    for name, python in environments.items():
        (folder / "environments" / name).symlink_to(python.parent.parent)
    variables = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "RECIPE_ENVIRONMENTS": str(folder / "environments"),
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
        "TOKENIZERS_PARALLELISM": "false",
    }
    for python in environments.values():
        variables |= extensions(python.parent.parent)
    return variables


def emitted(recipe: Path, folder: Path, *settings: str) -> str:
    """Compile a recipe into the folder's `build`; return its name."""
    compiled = compile_file(str(recipe), settings)
    assert compiled.files, [finding.message for finding in compiled.findings]
    assert {finding.code for finding in compiled.findings} <= {"T003", "P322"}
    write(folder / "build" / compiled.name, compiled.files)
    return compiled.name


def drive(python: Path, folder: Path, variables: dict[str, str], names: list[tuple[str, str]], *more: str) -> Any:
    """Run the training of each build in one process; return what came of each."""
    done = subprocess.run(
        [python, "-c", DRIVER, json.dumps(names), *more],
        cwd=folder,
        env=variables,
        capture_output=True,
        text=True,
        check=False,
        timeout=1200,
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    return json.loads((folder / "verdicts.json").read_text())


def losses(output: Path) -> list[float]:
    """Return the logged losses of a training."""
    states = sorted(output.glob("checkpoint-*/trainer_state.json"), key=lambda path: path.stat().st_mtime)
    history = json.loads(states[-1].read_text())["log_history"]
    return [row["loss"] for row in history if "loss" in row]


@pytest.mark.real
@pytest.mark.parametrize("environment", [ENVIRONMENT, OLDER])
def test_every_method_trains(environment: str, data: Path, tool_python: Callable[[str], Path], tmp_path: Path) -> None:
    variables = place(tmp_path, data, {})
    release = environment.removesuffix("-deepspeed").removeprefix("trl-")
    names, methods = [], set()
    for recipe in RECIPES:
        name = emitted(recipe, tmp_path, f"versions={{trl: {release}}}")
        method = YAML(typ="safe").load(recipe)["train"]["method"]
        methods.add(method)
        names.append((name, COMMANDS.get(method, "")))
    assert methods == SYSTEM.can["method"]
    verdicts = drive(tool_python(environment), tmp_path, variables, names)
    assert {name: wrong for name, wrong in verdicts.items() if wrong} == {}
    for name, _ in names:
        output = tmp_path / "runs" / name / "train"
        found = losses(output)
        assert found
        assert all(math.isfinite(loss) for loss in found)
        assert list(output.glob("*model*.safetensors"))
        assert (output / "tokenizer_config.json").exists()


@pytest.mark.real
def test_every_adapter_trains_and_fits_the_unchanged_base(
    data: Path, tool_python: Callable[[str], Path], tmp_path: Path
) -> None:
    variables = place(tmp_path, data, {})
    names = []
    for kind, adapter in ADAPTERS.items():
        recipe = tmp_path / f"{kind}.yaml"
        load = kind if kind in ("nf4", "int8") else "fp32"
        name = kind.replace("_", "-")
        recipe.write_text(ADAPTER_RECIPE.format(name=name, load=load, adapter=adapter), encoding="utf-8")
        names.append((emitted(recipe, tmp_path), "sft"))
    verdicts = drive(tool_python(ENVIRONMENT), tmp_path, variables, names, "adapters")
    assert {name: wrong for name, wrong in verdicts.items() if not isinstance(wrong, list)} == {}
    for name, (apart, moved) in verdicts.items():
        assert moved > 1e-6, f"{name} learnt nothing"
        assert apart < (0.01 if name == "int8" else 1e-4), f"{name} is not what was trained"


@pytest.mark.real
@pytest.mark.parametrize(("recipe", "processes"), [("dpo", 1), ("sft-chat", 2)])
def test_run_sh_trains_and_resumes(
    recipe: str, processes: int, data: Path, tool_python: Callable[[str], Path], tmp_path: Path
) -> None:
    variables = place(tmp_path, data, {"trl-1.16.0": tool_python(ENVIRONMENT)})
    name = emitted(HERE / "trl" / f"{recipe}.yaml", tmp_path, f"hardware.per_node={processes}")
    with alone():
        run_script(tmp_path, f"build/{name}/run.sh", variables)
    output = tmp_path / "runs" / name / "train"
    whole = losses(output)
    assert len(whole) == 4
    assert (output / "model.safetensors").exists()
    (output / "checkpoint-4" / "trainer_state.json").unlink()
    resuming = variables | {"RECIPE_RESUME_FROM": str(output / "checkpoint-2")}
    with alone():
        run_script(tmp_path, f"build/{name}/train/run.sh", resuming)
    assert losses(output) == pytest.approx(whole, abs=1e-4)


STRATEGIES = ("ddp", "fsdp2", "zero2", "zero3")


@pytest.mark.real
def test_two_ranks_share_the_work_by_every_strategy(
    data: Path, tool_python: Callable[[str], Path], tmp_path: Path
) -> None:
    python = tool_python(ENVIRONMENT)
    variables = place(tmp_path, data, {"trl-1.16.0": python, "trl-1.16.0-deepspeed": python})
    variables["PYTHONPATH"] = str(HERE / "shim")
    found: dict[str, list[float]] = {}
    for strategy in STRATEGIES:
        words = (f"name={strategy}", f"parallel={{strategy: {strategy}}}", "hardware={gpu: a100-80gb, per_node: 2}")
        name = emitted(HERE / "trl" / "sft-chat.yaml", tmp_path, *words, "train.precision=bf16", "data.workers=0")
        evidence = tmp_path / "evidence" / strategy
        evidence.mkdir(parents=True)
        if found:
            shutil.copytree(tmp_path / "runs" / STRATEGIES[0] / "init", tmp_path / "runs" / name / "init")
        else:
            run_script(tmp_path, f"build/{name}/init/run.sh", variables)
        with alone():
            telling = {"RECIPEC_EVIDENCE": str(evidence), "RECIPEC_FORMATS": str(evidence / "formats.json")}
            run_script(tmp_path, f"build/{name}/train/run.sh", variables | telling)
        found[strategy] = losses(tmp_path / "runs" / name / "train")
        assert (tmp_path / "runs" / name / "train" / "model.safetensors").exists()
        formats = json.loads((evidence / "formats.json").read_text())
        assert formats == {"parameters": ["float32"], "states": ["float32"]}, strategy
        ranks = [json.loads(path.read_text()) for path in sorted(evidence.glob("rank*.json"))]
        assert [rank["world"] for rank in ranks] == [2, 2]
        for rank in ranks:
            if strategy == "ddp":
                assert "DistributedDataParallel" in rank["classes"]
            elif strategy == "fsdp2":
                assert rank["sharded"] > 0
            else:
                assert rank["zero_stage"] == int(strategy[-1])
    plain = found.pop("ddp")
    assert len(plain) == 4
    assert plain[-1] < plain[0]
    for strategy, sharded in found.items():
        assert sharded == pytest.approx(plain, abs=0.05), strategy


STOPPING = """
recipe: 1
name: {name}
trainer: trl
model: {{{model}, max_length: 256}}
data: {{train: [{{path: data/chats.jsonl, format: chat, columns: {{messages: conversations, role: from, content: value}},
  roles: {{user: [human], assistant: [gpt]}}}}], holdout: 10%}}
train: {{micro_batch_size: 4, log_every: 1, save: {{every: 2}}, evaluate_every: 2, {train}}}
hardware: {{gpu: none}}
"""
OWN_TEMPLATE = (
    "{% for message in messages %}[{{ message.role }}]{{ message.content }}</s>{% endfor %}"
    "{% if add_generation_prompt %}[assistant]{% endif %}"
)


def history(output: Path) -> list[dict[str, Any]]:
    """Return what a training logged."""
    states = sorted(output.glob("checkpoint-*/trainer_state.json"), key=lambda path: path.stat().st_mtime)
    found: list[dict[str, Any]] = json.loads(states[-1].read_text())["log_history"]
    return found


@pytest.mark.real
@pytest.mark.parametrize("environment", ["trl-1.16.0", OLDER])
def test_what_the_trainer_itself_can_do_is_done(
    environment: str, data: Path, tool_python: Callable[[str], Path], tmp_path: Path
) -> None:
    variables = place(tmp_path, data, {})
    (tmp_path / "own.jinja").write_text(OWN_TEMPLATE, encoding="utf-8")
    scratch = "from_scratch: {family: llama, hidden_size: 32, layers: 2, heads: 2, vocab_size: 400}"
    recipes = {
        "plain": (scratch, "learning_rate: 1e-2, steps: 6, scheduler: inverse_sqrt, warmup: 2"),
        "noisy": (scratch, "learning_rate: 1e-2, steps: 6, scheduler: inverse_sqrt, warmup: 2, neftune_alpha: 50"),
        "twice": (scratch, "learning_rate: 1e-2, steps: 6, scheduler: cosine_with_restarts, cycles: 2"),
        # 36 rows are 9 steps, of which ceil(4.5) decay
        "decays": (scratch, "learning_rate: 1e-2, epochs: 1, scheduler: warmup_stable_decay, warmup: 2, decay: 50%"),
        # nothing is learnt at this rate: the first validation stays the best
        "stops": (
            "base: runs/plain/init, chat_template_file: own.jinja",
            "learning_rate: 1e-12, steps: 40, early_stopping: 2",
        ),
    }
    release = environment.removeprefix("trl-")
    names = []
    for name, (model, train) in recipes.items():
        recipe = tmp_path / f"{name}.yaml"
        allowed = "allow: {L132: so that the first validation stays the best}\n" * (name == "stops")
        recipe.write_text(STOPPING.format(name=name, model=model, train=train) + allowed, encoding="utf-8")
        names.append((emitted(recipe, tmp_path, f"versions={{trl: {release}}}"), "sft"))
    verdicts = drive(tool_python(environment), tmp_path, variables, names)
    assert {name: wrong for name, wrong in verdicts.items() if wrong} == {}
    logged = {name: history(tmp_path / "runs" / name / "train") for name in recipes}
    rates = {name: [row["learning_rate"] for row in rows if "learning_rate" in row] for name, rows in logged.items()}
    # after two steps of warmup, base × √(2 / step)
    assert rates["plain"] == pytest.approx([0.0, 5e-3, *(1e-2 * math.sqrt(2 / step) for step in range(2, 6))], rel=1e-3)
    assert rates["twice"][3] == pytest.approx(1e-2)  # the second cosine begins
    falls = [0.5 + 0.5 * math.cos(math.pi * step / 5) for step in range(5)]
    assert rates["decays"] == pytest.approx([1e-2 * share for share in (0, 0.5, 1, 1, *falls)])
    first = {name: next(row["loss"] for row in logged[name] if "loss" in row) for name in ("plain", "noisy")}
    assert abs(first["plain"] - first["noisy"]) > 1e-3
    assert [row["step"] for row in logged["stops"] if "eval_loss" in row] == [2, 4, 6]
    saved = tmp_path / "runs" / "stops" / "train"
    files = "".join(
        file.read_text(encoding="utf-8") for file in [*saved.glob("*.jinja"), saved / "tokenizer_config.json"]
    )
    assert "[{{ message.role }}]" in files
