"""Ends with exit code 4 where the scores of evaluations are not what a recipe requires. Needs nothing but Python.

    python check_scores.py gate.json

A requirement holds where the scores show it with the stated confidence, one-sided, by the normal approximation. Two models
that were asked the same questions are compared question by question, where the answers were kept: the standard error is
that of the mean difference (Miller 2024, "Adding Error Bars to Evals", arXiv:2411.00640, section 4.2). Elsewhere the two
standard errors add as independent ones do.
"""

from __future__ import annotations

import json
import math
import os
import sys
from pathlib import Path
from statistics import NormalDist, fmean, stdev

REFUSED = 4
SIGNS = {">=": 1, ">": 1, "<=": -1, "<": -1}
WEIGHTS = ("*.safetensors", "*.bin")


def newest(folder: Path) -> tuple[Path, dict]:
    """Return the newest results of lm-eval below a folder, whose names end with the time. Raises SystemExit."""
    files = sorted(folder.rglob("results_*.json"), key=lambda path: path.name)
    if not files:
        raise SystemExit(f"check_scores.py: there are no results in {folder}: evaluate first")
    return files[-1], json.loads(files[-1].read_text(encoding="utf-8"))


def told_model(results: dict) -> dict:
    """Return the words with which lm-eval loaded the model."""
    words = results.get("config", {}).get("model_args") or {}
    return words if isinstance(words, dict) else dict(word.partition("=")[::2] for word in words.split(","))


def check_subject(name: str, model: dict, results: dict) -> None:
    """Raise SystemExit unless the results are of this model, and not older than its weights."""
    words = told_model(results)
    found = words.get("pretrained") or words.get("model"), words.get("peft") or words.get("lora_local_path")
    if found != (model["path"], model["adapter"]):
        shown = " with ".join(str(one) for one in found if one)
        raise SystemExit(
            f"check_scores.py: the scores in {model['scores']} are of {shown}, not of {name}: evaluate again"
        )
    folder = Path(model["adapter"] or model["path"])
    changed = max((path.stat().st_mtime for kind in WEIGHTS for path in folder.glob(kind)), default=0.0)
    if changed > float(results["date"]):
        raise SystemExit(f"check_scores.py: the weights in {folder} are newer than their scores: evaluate again")


def named_metric(task: str, metric: str | None, values: dict) -> str:
    """Return the key of a metric in the results of a task: the named one, else the first. Raises SystemExit."""
    keys = [key for key in values if "," in key and "_stderr," not in key and isinstance(values[key], int | float)]
    if metric is None and keys:
        return keys[0]
    for key in keys:
        if metric in (key, key.partition(",")[0]):
            return key
    raise SystemExit(f"check_scores.py: {task} has no metric {metric}; it has {', '.join(keys) or 'none'}")


def error_of(values: dict, key: str) -> float | None:
    """Return the standard error of a metric; None where lm-eval gives none."""
    metric, _, kind = key.partition(",")
    found = values.get(f"{metric}_stderr,{kind}")
    return float(found) if isinstance(found, int | float) else None


def answers(file: Path, task: str, key: str, score: float) -> dict[str, float]:
    """Return the value of each question by the question's hash; none where they are not kept, or are no mean."""
    metric, _, kind = key.partition(",")
    kept = file.with_name(file.name.replace("results_", f"samples_{task}_", 1)).with_suffix(".jsonl")
    found: dict[str, float] = {}
    if not kept.is_file():
        return {}
    with kept.open(encoding="utf-8") as stream:
        for line in stream:
            row = json.loads(line)
            value = row.get(metric)
            if row.get("filter", "none") != kind:
                continue
            if not isinstance(value, int | float):
                return {}
            found[f"{row['doc_id']} {row['doc_hash']}"] = float(value)
    return found if found and math.isclose(fmean(found.values()), score, abs_tol=1e-6) else {}


def judge(condition: dict, scores: dict[str, list[tuple[Path, dict]]], confidence: float) -> dict:
    """Return what became of a requirement: the difference from what is required, its error, and the verdict."""
    task, own = condition["task"], condition["model"]
    values, files = {}, {}
    for name in [one for one in (own, condition["against"]) if one is not None]:
        measured = [(file, found["results"][task]) for file, found in scores[name] if task in found["results"]]
        if not measured:
            raise SystemExit(f"check_scores.py: there are no scores of {task} for {name}")
        files[name], values[name] = measured[-1]
    key = named_metric(task, condition["metric"], values[own])
    found = {name: float(row[key]) for name, row in values.items()}
    errors = [error_of(row, key) for row in values.values()]
    difference, pairs = found[own] - condition["offset"], 0
    error = None if None in errors else math.hypot(*errors)
    if condition["against"] is not None:
        difference -= found[condition["against"]]
        each = [answers(files[name], task, key, found[name]) for name in found]
        if len(each) == 2 and each[0] and each[0].keys() == each[1].keys() and len(each[0]) > 1:
            pairs = len(each[0])
            error = stdev(each[0][one] - each[1][one] for one in each[0]) / math.sqrt(pairs)
    sign, needed = SIGNS[condition["operator"]], NormalDist().inv_cdf(confidence)
    strict = condition["operator"] in (">", "<")
    met = sign * difference > 0 if strict else sign * difference >= -1e-12
    if needed and error is None:
        verdict = "not shown" if met else "refuted"
    elif needed and met and error > 0:
        verdict = "holds" if sign * difference >= needed * error else "not shown"
    else:
        verdict = "holds" if met else "refuted" if not error or -sign * difference >= needed * error else "not shown"
    row = {**condition, "metric": key, "scores": found, "difference": difference, "error": error, "pairs": pairs}
    return row | {"verdict": verdict}


def text_of(row: dict, confidence: float) -> str:
    """Return a requirement and what became of it in one line."""
    measured = ", ".join(f"{name} {value:.4f}" for name, value in row["scores"].items())
    error = "no standard error" if row["error"] is None else f"± {row['error']:.4f}"
    how = f", {row['pairs']} questions compared one by one" if row["pairs"] else ""
    away = f"{row['difference']:+.4f} {error} from what is required{how}"
    shown = f"not shown at {confidence:.0%}" if row["verdict"] == "not shown" else row["verdict"]
    return f"{row['said']}: {shown} ({row['metric']}: {measured}; {away})"


def main(path: str) -> int:
    """Check what the settings require, write the verdict and say it; return the exit code."""
    settings = json.loads(Path(path).read_text(encoding="utf-8"))
    scores = {}
    for name, places in settings["models"].items():
        scores[name] = [newest(Path(one["scores"])) for one in places]
        for one, (_, results) in zip(places, scores[name], strict=True):
            check_subject(name, one, results)
    rows = [judge(one, scores, settings["confidence"]) for one in settings["conditions"]]
    failed = [row for row in rows if row["verdict"] != "holds"]
    output = Path(settings["output"])
    output.mkdir(parents=True, exist_ok=True)
    fresh = output / f".verdict.json.{os.getpid()}"
    fresh.write_text(json.dumps({"holds": not failed, "conditions": rows}, indent=2) + "\n", encoding="utf-8")
    fresh.replace(output / "verdict.json")
    for row in rows:
        print(text_of(row, settings["confidence"]))
    if failed:
        told = "; ".join(text_of(row, settings["confidence"]) for row in failed)
        print(f"required, and not so: {told}")
    return REFUSED if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
