"""Which clear mistakes in a training configuration are found before training, by Axolotl and by `recipe check`.

`python benchmarks/mistakes.py --axolotl PYTHON [--train MODEL]` asks both anew, writes mistakes/results.json and puts the
tables into docs/comparison.md and README.md; without PYTHON it only writes the tables. PYTHON is that of an Axolotl
environment; MODEL is the folder of a tiny model: what Axolotl's validation lets through is then really trained on it.

The mistakes are planted one at a time in mistakes/axolotl.yaml and in mistakes/recipe.yaml, which say the same training.
"""

import argparse
import json
import re
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from recipec.diagnostics import errors
from recipec.pipeline import compile_file

ROOT = Path(__file__).parent.parent
HERE = Path(__file__).parent / "mistakes"
RESULTS = HERE / "results.json"
RELEASE = "0.19.0"
COMMAND = "python benchmarks/mistakes.py --axolotl PYTHON --train runs/quickstart/00-init"
ROUNDS = 5
# What a machine without GPUs needs to train the configuration for two steps; nothing that a mistake is about.
ON_CPU = {
    "bf16: true": "bf16: false",
    "num_epochs: 3": "max_steps: 2",
    "attn_implementation: sdpa": "attn_implementation: sdpa\nlora_mlp_kernel: false\nlora_qkv_kernel: false\n"
    "lora_o_kernel: false\nlora_embedding_kernel: false\ndataset_num_proc: 1\ndataloader_num_workers: 0",
    "sequence_len: 4096": "sequence_len: 64",
}


def cases() -> dict[str, list[dict[str, Any]]]:
    """Return the planted mistakes, and the unusual values that are fine."""
    found: dict[str, list[dict[str, Any]]] = YAML(typ="safe").load(HERE / "mistakes.yaml")
    return found


def planted(language: str, change: Mapping[str, str] | None) -> str:
    """Return the text of a configuration with a change in it. Raises ValueError unless its place is unique."""
    text = (HERE / f"{language}.yaml").read_text(encoding="utf-8")
    if change is None:
        return text
    if text.count(change["replace"]) != 1:
        raise ValueError(f"{change['replace']!r} is not in {language}.yaml exactly once")
    return text.replace(change["replace"], change["by"])


def ask_recipe(text: str) -> list[str]:
    """Return what `recipe check` finds in a recipe, each as `code line: message`; only errors count."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "recipe.yaml"
        file.write_text(text, encoding="utf-8")
        found = errors(compile_file(str(file), []).findings)
    return [f"{f.code} line {f.span.line if f.span else '-'}: {f.message}" for f in found]


def answers(python: Path, script: str, question: list[str]) -> list[Any]:
    """Return what a script of `mistakes/` answers under an Axolotl environment's Python."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "question.json"
        file.write_text(json.dumps(question), encoding="utf-8")
        done = subprocess.run(
            [str(python), str(HERE / script), str(file)], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True
        )
    found: list[Any] = json.loads(done.stdout)
    return found


def ask_axolotl(python: Path, texts: list[str]) -> list[dict[str, Any]]:
    """Return Axolotl's answer to each configuration: `error` (text or None) and `warnings`."""
    return answers(python, "ask_axolotl.py", texts)


def train(python: Path, model: Path, texts: list[str]) -> list[str | None]:
    """Train each configuration for two steps on the CPU; return None where that succeeded, else the error."""
    with tempfile.TemporaryDirectory() as folder:
        files = []
        for index, text in enumerate(texts):
            here = Path(folder) / str(index)
            here.mkdir()
            place = {"base_model: mistralai/Mistral-7B-v0.3": f"base_model: {model}", "runs/mistakes": str(here)}
            for old, new in (ON_CPU | place).items():
                text = text.replace(old, new)
            files.append(here / "axolotl.yaml")
            files[-1].write_text(text, encoding="utf-8")
        errors_of = answers(python, "train_axolotl.py", [str(file) for file in files])
        return [error and error.replace(folder, "…") for error in errors_of]


def cost(python: Path) -> dict[str, dict[str, float]]:
    """Return median user CPU seconds and peak MiB of judging the good configuration in a cold process, in turn."""
    sys.path.insert(0, str(Path(__file__).parent))
    from cold_start import measure

    rows: dict[str, list[tuple[float, float]]] = {"axolotl": [], "recipe": []}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "texts.json"
        file.write_text(json.dumps([planted("axolotl", None)]), encoding="utf-8")
        for _round in range(ROUNDS + 1):
            rows["axolotl"].append(measure([str(python), str(HERE / "ask_axolotl.py"), str(file)]))
            rows["recipe"].append(measure([sys.executable, "-m", "recipec.cli", "check", str(HERE / "recipe.yaml")]))
    return {
        name: {
            "user_seconds": round(statistics.median(seconds for seconds, _ in figures[1:]), 2),
            "mib": round(statistics.median(memory for _, memory in figures[1:])),
        }
        for name, figures in rows.items()
    }


def ask(python: Path, model: Path | None) -> dict[str, Any]:
    """Return everything that the tables show, found anew."""
    groups = cases()
    everything = [*groups["mistakes"], *groups["fine"]]
    said = ask_axolotl(python, [planted("axolotl", None), *(planted("axolotl", c["axolotl"]) for c in everything)])
    if said[0]["error"] or ask_recipe(planted("recipe", None)):
        raise SystemExit("the configuration without a mistake is refused")
    found: dict[str, Any] = {"axolotl": RELEASE, "mistakes": [], "fine": []}
    tried = []
    for case, answer in zip(everything, said[1:], strict=True):
        row: dict[str, Any] = {
            "what": case["what"],
            "axolotl": plain(answer["error"]),
            "axolotl_warns": [text for text in answer["warnings"] if text not in said[0]["warnings"]],
            "recipe": ask_recipe(planted("recipe", case["recipe"])) if case["recipe"] else None,
        }
        if case in groups["mistakes"] and not answer["error"]:
            row["training"] = {"untried": case.get("untried", "not asked for")}
            if "untried" not in case:
                tried.append((row, planted("axolotl", case["axolotl"])))
        found["mistakes" if case in groups["mistakes"] else "fine"].append(row)
    if model is not None:
        base, *ends = train(python, model, [planted("axolotl", None), *(text for _, text in tried)])
        if base:
            raise SystemExit(f"the configuration without a mistake does not train: {base}")
        for (row, _), error in zip(tried, ends, strict=True):
            row["training"] = {"error": plain(error)}
    found["cost"] = cost(python)
    return found


def plain(error: str | None) -> str | None:
    """Return the line of a pydantic error that says what is wrong, without the values around it."""
    if error is None:
        return None
    lines = [line.strip() for line in error.splitlines()]
    said = next((line for line in lines if re.search(r"\[type=", line)), lines[0])
    return re.sub(r"\s*\[type=.*", "", said)[:200]


def verdicts(row: Mapping[str, Any]) -> tuple[str, str, str]:
    """Return the three cells of a mistake: Axolotl's validation, what training does then, the recipe."""
    axolotl = "found" if row["axolotl"] else "warned" if row["axolotl_warns"] else "**not found**"
    training = row.get("training")
    if training is None:
        then = ""
    elif "untried" in training:
        then = f"not tried: {training['untried']}"
    else:
        then = "stops with an error" if training["error"] else "trains, exit code 0"
    if row["recipe"] is None:
        return axolotl, then, "cannot be written"
    return axolotl, then, f"found ({row['recipe'][0].split()[0]})" if row["recipe"] else "**not found**"


def short_table(found: Mapping[str, Any]) -> str:
    """Return the table of the README."""
    rows = found["mistakes"]
    cells = [verdicts(row) for row in rows]
    said = [row for row in rows if row["recipe"] is not None]
    ratio = found["cost"]["axolotl"]["user_seconds"] / found["cost"]["recipe"]["user_seconds"]
    memory = found["cost"]["axolotl"]["mib"] / found["cost"]["recipe"]["mib"]
    alarms = [sum(bool(row[name]) for row in found["fine"]) for name in ("axolotl", "recipe")]
    silent, later = (sum(then.startswith(word) for _, then, _ in cells) for word in ("trains", "stops"))
    return "\n".join(
        [
            f"| {len(rows)} clear mistakes, planted one at a time | Axolotl {found['axolotl']} | `recipe check` |",
            "|---|---|---|",
            f"| found before training | {sum(bool(row['axolotl']) for row in rows)} of {len(rows)} | "
            f"{sum(bool(row['recipe']) for row in said)} of {len(said)}; "
            f"{len(rows) - len(said)} cannot be written at all |",
            f"| not found, and the training really ran to its end | {silent} | – |",
            f"| not found, but the training stops with an error later | {later} | – |",
            f"| not found, and not tried for want of GPUs | {len(rows) - sum(bool(r['axolotl']) for r in rows) - silent - later} | – |",
            f"| false alarms on {len(found['fine'])} unusual but right configurations | {alarms[0]} | {alarms[1]} |",
            f"| user CPU time, cold process | {ratio:.0f} × | 1 × |",
            f"| peak memory, cold process | {memory:.0f} × | 1 × |",
        ]
    )


def whole_table(found: Mapping[str, Any]) -> str:
    """Return the tables of docs/comparison.md."""
    lines = [
        f"| mistake | Axolotl {found['axolotl']} validation | its training then | `recipe check` |",
        "|---|---|---|---|",
    ]
    lines += [f"| {row['what']} | {' | '.join(verdicts(row))} |" for row in found["mistakes"]]
    lines += ["", "| unusual, and right | Axolotl validation | `recipe check` |", "|---|---|---|"]
    for row in found["fine"]:
        cells = ("refused" if row[name] else "accepted" for name in ("axolotl", "recipe"))
        lines.append(f"| {row['what']} | {' | '.join(cells)} |")
    lines += [
        "",
        "| a cold process that judges the configuration without a mistake | user CPU s | MiB |",
        "|---|---|---|",
    ]
    for name, title in (("axolotl", f"Axolotl {found['axolotl']}"), ("recipe", "`recipe check`")):
        lines.append(f"| {title} | {found['cost'][name]['user_seconds']:.2f} | {found['cost'][name]['mib']:.0f} |")
    return "\n".join(lines)


def documents(found: Mapping[str, Any]) -> dict[Path, str]:
    """Return the documents with their tables as they should be. Raises ValueError where a marker is missing."""
    texts = {}
    for name, table in (("README.md", short_table(found)), ("docs/comparison.md", whole_table(found))):
        text = (ROOT / name).read_text(encoding="utf-8")
        begin, end = "<!-- mistakes: begin -->\n", "<!-- mistakes: end -->"
        if begin not in text or end not in text:
            raise ValueError(f"{name} has no place for the table")
        texts[ROOT / name] = text.partition(begin)[0] + begin + table + "\n" + end + text.partition(end)[2]
    return texts


def main() -> None:
    """Ask, write the results, and put them into the documents."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--axolotl", metavar="PYTHON", type=Path)
    parser.add_argument("--train", metavar="MODEL", type=lambda text: Path(text).resolve())
    options = parser.parse_args()
    if options.axolotl:
        found = ask(options.axolotl, options.train)
        RESULTS.write_text(json.dumps(found, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    for path, text in documents(json.loads(RESULTS.read_text(encoding="utf-8"))).items():
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
