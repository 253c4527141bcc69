"""Which clear mistakes in a training configuration are found before training, by the tools' own validation and by us.

`python benchmarks/mistakes.py --environments [--cost] [--train MODEL]` asks every tool and `recipe check` anew, writes
mistakes/results.json and puts the tables into docs/comparison.md and README.md. Without `--environments` only
`recipe check` is asked anew, and the tools' answers stay; `--cost` measures what a check costs, on a machine that does nothing
else. MODEL is the folder of a tiny model: what Axolotl's validation lets through is then really trained on it. `--tables`
asks nobody.

The mistakes are planted one at a time in mistakes/bases, where each folder says one training in several languages.
"""

import argparse
import contextlib
import io
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(1, str(Path(__file__).parents[1] / "scripts"))

from mistakes_cases import BASES, FILES, HERE, ROOT, TOOLS, Case, Planted, bases, cases, located, planted, suggested
from mistakes_tables import documents
from tool_environment import tool_environment

from recipec.cli import main as recipe

RESULTS = HERE / "results.json"
ROUNDS = 5
# Tool → the environment whose code is asked, and the releases in it.
ENVIRONMENTS = {
    "axolotl": "axolotl-0.21.0-deepspeed",
    "trl": "trl-1.16.0-deepspeed",
    "llamafactory": "llamafactory-0.9.5-deepspeed",
    "deepspeed": "trl-1.16.0-deepspeed",
    "accelerate": "trl-1.16.0-deepspeed",
}
ROWS = ("data", "template")  # kinds that show when rows are prepared
# What a machine without GPUs needs to train Axolotl's base for two steps; nothing that a mistake is about.
ON_CPU = {
    "bf16: true": "bf16: false",
    "num_epochs: 3": "max_steps: 2",
    "attn_implementation: sdpa": "attn_implementation: sdpa\nlora_mlp_kernel: false\nlora_qkv_kernel: false\n"
    "lora_o_kernel: false\nlora_embedding_kernel: false\ndataset_num_proc: 1\ndataloader_num_workers: 0",
    "sequence_len: 4096": "sequence_len: 64",
}

Answer = dict[str, Any]  # "error": text or None; "warnings": texts


def ask_recipe(changes: list[Planted]) -> list[Answer]:
    """Return what `recipe check` says of each recipe."""
    answers = []
    with tempfile.TemporaryDirectory() as folder:
        for change in changes:
            file = Path(folder) / change.file
            file.write_text(change.after, encoding="utf-8")
            with contextlib.redirect_stdout(io.StringIO()) as out:
                recipe(["check", "--json", str(file)])
            told: dict[str, list[str]] = {"error": [], "warning": []}
            for row in json.loads(out.getvalue())["findings"]:
                place = f"{change.file}:{row['line']}: " if row["line"] else ""
                advice = "; ".join(row[key] for key in ("suggestion", "help") if row[key])
                told[row["severity"]].append(f"{row['code']} {place}{row['message']}; {advice}")
            answers.append({"error": "\n".join(told["error"]) or None, "warnings": told["warning"]})
    return answers


def environment(tool: str) -> Path:
    """Return the Python of a tool's environment, which is made where there is none."""
    return tool_environment(ENVIRONMENTS[tool]) / "bin" / "python"


def ask_tool(tool: str, changes: list[Planted], python: Path) -> list[Answer]:
    """Return what a tool's own validation says of each configuration, asked in one process."""
    with tempfile.TemporaryDirectory() as folder:
        jobs = _jobs(changes, Path(folder))
        found: list[Answer] = json.loads(
            subprocess.run(
                [python, HERE / "ask" / f"{tool}.py", jobs], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True
            ).stdout
        )
    assert len(found) == len(changes)
    for answer in found:
        answer["error"] = answer["error"] and _plain(answer["error"], folder)
        answer["warnings"] = sorted({_plain(text, folder) for text in answer["warnings"]})
    return found


def prepare(changes: list[Planted], python: Path) -> list[Answer]:
    """Return what `axolotl preprocess` says of the rows of each configuration."""
    with tempfile.TemporaryDirectory() as folder:
        files = [job["file"] for job in json.loads(_jobs(changes, Path(folder)).read_text(encoding="utf-8"))]
        question = Path(folder) / "question.json"
        question.write_text(json.dumps(files), encoding="utf-8")
        command = [python, HERE / "prepare_axolotl.py", question]
        done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
        found: list[Answer] = json.loads(done.stdout)
    for answer in found:
        answer["error"] = answer["error"] and _plain(answer["error"], folder).replace(f"{ROOT}/", "")
        answer["warnings"] = sorted({_plain(text, folder).replace(f"{ROOT}/", "") for text in answer["warnings"]})
    return found


def _jobs(changes: list[Planted], folder: Path) -> Path:
    """Write each configuration among the files of its base; return the list of jobs."""
    jobs = []
    for number, change in enumerate(changes):
        here = folder / str(number)
        here.mkdir(parents=True)
        for path in (BASES / change.base).iterdir():
            (here / path.name).write_text(path.read_text(encoding="utf-8"), encoding="utf-8")
        (here / change.file).write_text(change.after, encoding="utf-8")
        command = change.base if change.base in ("dpo", "grpo") else "sft"
        where = {"file": str(here / FILES[change.language]), "cwd": str(here)}
        jobs.append({**where, "gpu": change.machine, "world": change.machine["count"], "command": command})
    (folder / "jobs.json").write_text(json.dumps(jobs), encoding="utf-8")
    return folder / "jobs.json"


def _plain(text: str, folder: str) -> str:
    """Return a text without colours, addresses, and the folders of this machine."""
    text = re.sub(rf"{re.escape(folder)}/\d+/?", "", re.sub(r"\x1b\[[0-9;]*m", "", text))
    return re.sub(r"0x[0-9a-f]{6,}|/\S*/(?:site-packages|benchmarks)/", "", text)


def train(python: Path, model: Path, texts: list[str]) -> list[str | None]:
    """Train each Axolotl configuration for two steps on the CPU; return None where that succeeded, else the error."""
    with tempfile.TemporaryDirectory() as folder:
        files = []
        for index, text in enumerate(texts):
            here = Path(folder) / str(index)
            here.mkdir()
            place = {"base_model: mistralai/Mistral-7B-v0.3": f"base_model: {model}", "runs/mistakes-sft": str(here)}
            for old, new in (ON_CPU | place).items():
                text = text.replace(old, new)
            files.append(str(here / "axolotl.yaml"))
            Path(files[-1]).write_text(text, encoding="utf-8")
        question = Path(folder) / "question.json"
        question.write_text(json.dumps(files), encoding="utf-8")
        done = subprocess.run(
            [str(python), str(HERE / "train_axolotl.py"), str(question)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        return [error and error.replace(folder, "…")[:300] for error in json.loads(done.stdout)]


def cost(pythons: dict[str, Path]) -> dict[str, dict[str, float]]:
    """Return median seconds, user CPU seconds and peak MiB of judging a good configuration in a cold process, in turn."""
    rows: dict[str, list[tuple[float, float, float]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        commands = {"recipe": [sys.executable, "-m", "recipec.cli", "check", str(BASES / "sft" / "recipe.yaml")]}
        for tool, python in pythons.items():
            base = "full" if tool == "deepspeed" else "sft"
            jobs = _jobs([planted(base, tool)], Path(folder) / tool)
            commands[tool] = [str(python), str(HERE / "ask" / f"{tool}.py"), str(jobs)]
        for _round in range(ROUNDS + 1):  # the first warms the caches of the disk
            for name, command in commands.items():
                rows.setdefault(name, []).append(_measured(command))
    keys = ("seconds", "user_seconds", "mib")
    return {
        name: {key: round(statistics.median(row[i] for row in figures[1:]), 2) for i, key in enumerate(keys)}
        for name, figures in rows.items()
    }


def _measured(command: list[str]) -> tuple[float, float, float]:
    """Measure a command from a process smaller than any of them: a child's peak memory starts at its parent's."""
    script = (
        "import json, sys, time; from cold_start import measure; begin = time.perf_counter();"
        "user, memory = measure(sys.argv[1:]); print(json.dumps([time.perf_counter() - begin, user, memory]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, *command], cwd=HERE.parent, stdout=subprocess.PIPE, text=True, check=True
    )
    seconds, user, memory = json.loads(done.stdout)
    return seconds, user, memory


def judge(language: str, python: Path | None, planted_cases: list[Case]) -> dict[str, dict[str, Any]]:
    """Return what a language's judge says of every mistake and of what is right in its place, by its words.

    Raises SystemExit where a base without a mistake is refused: then nothing would be told by a refusal.
    """
    originals = bases(language)
    wrong = [case.wrong[language] for case in planted_cases if language in case.wrong]
    right = [case.right[language] for case in planted_cases if language in case.right]
    everything = [*originals, *wrong, *right]
    answers = ask_tool(language, everything, python) if python else ask_recipe(everything)
    if python and language == "axolotl":  # the one tool with a command that prepares rows, and trains nothing
        rows = [case for case in planted_cases if case.kind in ROWS]
        asked = [*originals, *(case.wrong[language] for case in rows if language in case.wrong)]
        for change, more in zip(asked, prepare(asked, python), strict=True):
            answer = answers[everything.index(change)]
            answer["error"] = answer["error"] or more["error"]
            answer["warnings"] = [*answer["warnings"], *more["warnings"]]
    known: dict[str, list[str]] = {}
    for change, answer in zip(originals, answers, strict=False):
        if answer["error"]:
            raise SystemExit(f"{language}: the base {change.base} is refused: {answer['error']}")
        known[change.base] = answer["warnings"]
    verdicts = iter(
        _verdict(change, answer, known[change.base])
        for change, answer in zip(everything[len(originals) :], answers[len(originals) :], strict=True)
    )
    found: dict[str, dict[str, Any]] = {case.what: {} for case in planted_cases}
    for side in ("wrong", "right"):
        for case in planted_cases:
            if language in getattr(case, side):
                found[case.what][side] = next(verdicts)
    return found


def _verdict(change: Planted, answer: Answer, known: list[str]) -> dict[str, Any]:
    new = [text for text in answer["warnings"] if _placeless(text) not in map(_placeless, known)]
    text = "\n".join([answer["error"] or "", *new])
    lines = (answer["error"] or "").strip().splitlines()
    said = next((line for line in lines if "[type=" in line), lines[0] if lines else None)
    return {
        "error": said and said.strip()[:240],
        "warnings": [warning.strip()[:240] for warning in new],
        "located": located(change, text),
        "suggested": suggested(change, text),
    }


def _placeless(text: str) -> str:
    """Return a warning without its line, which a change above it moves."""
    return re.sub(r" recipe\.yaml:\d+:", "", text)


def ask(old: dict[str, Any], tools: bool, costs: bool, model: Path | None) -> dict[str, Any]:
    """Return everything that the tables show; what is not asked anew is taken from the old results."""
    every = cases()
    pythons = {tool: environment(tool) for tool in TOOLS} if tools else {}
    said = {"recipe": judge("recipe", None, every)} | {t: judge(t, python, every) for t, python in pythons.items()}
    before = {row["what"]: row for row in old.get("mistakes", [])}
    rows = []
    for case in every:
        row: dict[str, Any] = {"kind": case.kind, "what": case.what, "base": case.base, "because": case.because}
        was = before.get(case.what, {})
        for language in FILES:
            row[language] = said[language][case.what] if language in said else was.get(language, {})
        if "training" in was:
            row["training"] = was["training"]
        rows.append(row)
    found = {"releases": ENVIRONMENTS, "mistakes": rows, "cost": old.get("cost", {})}
    if costs:
        found["cost"] = cost(pythons or {tool: environment(tool) for tool in TOOLS})
    if model is not None:
        _trained(every, rows, environment("axolotl"), model)
    return found


def _trained(every: list[Case], rows: list[dict[str, Any]], python: Path, model: Path) -> None:
    """Really train what Axolotl's validation lets through, of the base that a CPU can train."""
    tried = []
    for case, row in zip(every, rows, strict=True):
        row.pop("training", None)
        verdict = row["axolotl"].get("wrong")
        change = case.wrong.get("axolotl")
        on_cpu = case.base == "sft" and case.kind not in ("hardware", "memory") and not case.untried
        if verdict and change and on_cpu and not verdict["error"]:
            tried.append((row, change.after))
    base, *ends = train(python, model, [planted("sft", "axolotl").after, *(text for _, text in tried)])
    if base:
        raise SystemExit(f"the configuration without a mistake does not train: {base}")
    for (row, _), error in zip(tried, ends, strict=True):
        row["training"] = error or "trains"


def main() -> None:
    """Ask, write the results, and put them into the documents."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--environments", action="store_true", help="ask the tools too, each in its environment")
    parser.add_argument("--cost", action="store_true", help="measure what a check costs each")
    parser.add_argument("--train", metavar="MODEL", type=lambda text: Path(text).resolve())
    parser.add_argument("--tables", action="store_true", help="ask nobody; write the tables anew")
    options = parser.parse_args()
    os.chdir(ROOT)
    old = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    found = old if options.tables else ask(old, options.environments, options.cost, options.train)
    RESULTS.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    for path, text in documents(found).items():
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
