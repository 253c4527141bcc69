"""Evaluates the checkpoints of a training, and keeps the best of them.

    python evaluate_checkpoints.py checkpoints.json             evaluate those that were not, and choose the best
    python evaluate_checkpoints.py checkpoints.json --keep PID  keep each from being deleted, as long as process PID runs

A checkpoint is kept by hard links in a folder beside it, without the states of its optimizer, so that the trainer may
delete its own: only complete ones are, and only links are made. With `beside` in the settings, what is kept is also
evaluated while the training goes on. Keeping needs nothing but Python.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path

HERE = Path(__file__).resolve().parent
ME = Path(__file__).name
TICK = 0.2  # seconds between looks for new checkpoints
NAME = re.compile(r"checkpoint-(\d+)\Z")
NOT_WEIGHTS = re.compile(
    r"optimizer.*|scheduler\.pt|scaler\.pt|rng_state.*|global_step\d+|latest|zero_to_fp32\.py|training_args\.bin"
)
ENOUGH = "enough.json"  # in the folder of kept checkpoints: the training shall end


def step_of(folder: Path) -> int | None:
    """Return N of `checkpoint-N`; None for another name."""
    found = NAME.match(folder.name)
    return int(found[1]) if found else None


def complete(folder: Path) -> bool:
    """Return whether a checkpoint is whole: its trainer_state.json, written last, says its own step."""
    if (folder / "checkpoint-is-incomplete.txt").exists():
        return False
    try:
        state = json.loads((folder / "trainer_state.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(state, dict) and state.get("global_step") == step_of(folder)


def checkpoints(folder: Path) -> dict[int, Path]:
    """Return the folders of complete checkpoints by their steps."""
    if not folder.is_dir():
        return {}
    found = {step: path for path in folder.iterdir() if (step := step_of(path)) is not None and complete(path)}
    return dict(sorted(found.items()))


def identity(folder: Path) -> list[int]:
    """Return what tells a checkpoint from another of the same step that was written again."""
    told = (folder / "trainer_state.json").stat()
    return [told.st_size, told.st_mtime_ns]


def linked(source: Path, target: Path, left_out: re.Pattern[str] | None = None) -> None:
    """Link the files of a folder into another, whole or not at all; where there are no links, copy them."""
    fresh = target.with_name(f".{target.name}.{os.getpid()}")
    shutil.rmtree(fresh, ignore_errors=True)
    for path in sorted(source.rglob("*")):
        below = path.relative_to(source)
        if path.is_dir() or (left_out is not None and left_out.fullmatch(below.parts[0])):
            continue
        (fresh / below).parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(path, fresh / below)
        except OSError:
            shutil.copy2(path, fresh / below)
    shutil.rmtree(target, ignore_errors=True)
    fresh.rename(target)


def keep(settings: dict) -> None:
    """Keep every checkpoint that is there and shall be evaluated."""
    kept = Path(settings["kept"])
    for step, folder in checkpoints(Path(settings["training"])).items():
        if settings.get("every") and step % settings.get("every"):
            continue
        try:
            mine = kept / folder.name
            if (complete(mine) and identity(mine) == identity(folder)) or evaluated(settings, step, identity(folder)):
                continue
            kept.mkdir(parents=True, exist_ok=True)
            linked(folder, mine, NOT_WEIGHTS)
            if not complete(folder):  # it was deleted meanwhile, and perhaps not all of it was there any more
                shutil.rmtree(mine)
        except FileNotFoundError:  # deleted meanwhile
            continue


def scores_of(settings: dict, step: int) -> Path:
    """Return the folder of the scores of a checkpoint."""
    return Path(settings["kept"]) / "scores" / f"checkpoint-{step}"


def config_of(settings: dict, step: int) -> dict:
    """Return lm-eval's configuration for a checkpoint: the one beside this script, with that in the folder's place."""
    import yaml  # lm-eval's own; keeping does without

    found = yaml.safe_load((HERE / settings["config"]).read_text(encoding="utf-8"))
    place = f"{settings['kept']}/checkpoint-{step}"
    for key, value in found["model_args"].items():
        if value == settings["kept"]:
            found["model_args"][key] = place
    return {**found, "output_path": str(scores_of(settings, step))}


def digest(settings: dict) -> str:
    """Return the hash of what checkpoints are asked, and of where they are."""
    return hashlib.sha256((HERE / settings["config"]).read_bytes()).hexdigest()


def about(settings: dict, step: int) -> dict:
    """Return what was recorded of the evaluation of a checkpoint; nothing where it was not evaluated to its end."""
    with suppress(OSError, ValueError):
        return json.loads((scores_of(settings, step) / "of.json").read_text(encoding="utf-8"))
    return {}


def evaluated(settings: dict, step: int, who: list[int]) -> bool:
    """Return whether a checkpoint has its scores already: of these weights and of these questions."""
    told = about(settings, step)
    return bool(told) and told["checkpoint"] == who and told["asked"] == digest(settings)


def newest(folder: Path) -> tuple[Path, dict]:
    """Return the newest results of lm-eval below a folder. Raises SystemExit where there are none."""
    files = sorted(folder.rglob("results_*.json"), key=lambda path: path.name)
    if not files:
        raise SystemExit(f"{ME}: lm-eval left no results in {folder}")
    return files[-1], json.loads(files[-1].read_text(encoding="utf-8"))


def evaluate(settings: dict, step: int) -> None:
    """Let lm-eval evaluate one kept checkpoint. Raises SystemExit where it fails."""
    import yaml

    place, asked = scores_of(settings, step), config_of(settings, step)
    who = identity(Path(settings["kept"]) / f"checkpoint-{step}")
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    config = place / settings["config"]
    config.write_text(yaml.safe_dump(asked, sort_keys=False, allow_unicode=True), encoding="utf-8")
    print(f"{ME}: checkpoint-{step}", flush=True)
    words = [word.replace("{here}", str(HERE)) for word in settings["command"]]
    code = subprocess.run([*words, str(config)], check=False).returncode
    if code:
        raise SystemExit(f"{ME}: lm-eval failed on checkpoint-{step} (exit code {code})")
    file, _results = newest(place)
    told = {"step": step, "checkpoint": who, "asked": digest(settings), "results": str(file)}
    write(place / "of.json", told)


def write(path: Path, said: object) -> None:
    """Write a JSON file, whole or not at all."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    fresh.write_text(json.dumps(said, indent=2) + "\n", encoding="utf-8")
    fresh.replace(path)


def deciding(settings: dict, results: dict) -> tuple[str, float, bool]:
    """Return the metric that decides in some results, its value, and whether more of it is better. Raises SystemExit."""
    task, wanted = settings["task"], settings.get("metric")
    values = results["results"].get(task)
    if values is None:
        raise SystemExit(f"{ME}: there are no scores of {task}; there are {', '.join(results['results'])}")
    keys = [key for key in values if "," in key and "_stderr," not in key and isinstance(values[key], int | float)]
    for key in keys:
        if wanted in (None, key, key.partition(",")[0]):
            upwards = results.get("higher_is_better", {}).get(task, {}).get(key.partition(",")[0])
            if upwards is None:
                raise SystemExit(f"{ME}: lm-eval does not say whether more {key} of {task} is better: name another")
            return key, float(values[key]), bool(upwards)
    raise SystemExit(f"{ME}: {task} has no metric {wanted}; it has {', '.join(keys) or 'none'}")


def scored(settings: dict) -> list[dict]:
    """Return what was measured of each checkpoint that has its scores, by step; the best one says so."""
    rows = []
    for folder in sorted((Path(settings["kept"]) / "scores").glob("checkpoint-*")):
        step = step_of(folder)
        told = about(settings, step) if step is not None else {}
        if not told or told["asked"] != digest(settings):
            continue
        results = json.loads(Path(told["results"]).read_text(encoding="utf-8"))
        metric, value, upwards = deciding(settings, results)
        numbers = {
            task: {key: one for key, one in row.items() if "," in key} for task, row in results["results"].items()
        }
        more = {"metric": metric, "value": value, "higher_is_better": upwards, "tasks": numbers}
        rows.append({"step": step, "results": told["results"], **more})
    rows.sort(key=lambda row: row["step"])
    best = max(
        rows, key=lambda row: (row["value"] if row["higher_is_better"] else -row["value"], -row["step"]), default=None
    )
    return [{**row, "best": row is best} for row in rows]


def missed(settings: dict, rows: list[dict]) -> list[int]:
    """Return the steps whose checkpoints were deleted before they could be kept."""
    between = settings.get("every") or settings["saved"]
    if not isinstance(between, int) or not rows:
        return []
    return sorted(set(range(between, rows[-1]["step"], between)) - {row["step"] for row in rows})


@contextmanager
def alone(settings: dict):
    """Hold what only one process at a time may do."""
    kept = Path(settings["kept"])
    kept.mkdir(parents=True, exist_ok=True)
    with (kept / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def evaluate_kept(settings: dict) -> list[dict]:
    """Evaluate every kept checkpoint that has no scores yet, the oldest first; return what was measured of all.

    Where enough were no better, the training is told so.
    """
    for step, folder in checkpoints(Path(settings["kept"])).items():
        if not evaluated(settings, step, identity(folder)):
            evaluate(settings, step)
        end_where_enough(settings)
    return scored(settings)


def end_where_enough(settings: dict) -> None:
    """Tell the training to end where enough checkpoints in a row were not better, and that it may go on elsewhere."""
    rows, patience = scored(settings), settings.get("early_stopping")
    best = next((row["step"] for row in rows if row["best"]), None)
    since = [row["step"] for row in rows if best is not None and row["step"] > best]
    file = Path(settings["kept"]) / ENOUGH
    if patience and len(since) >= patience:
        write(file, {"best": best, "not_better": since})
    else:
        file.unlink(missing_ok=True)


def choose(settings: dict, rows: list[dict]) -> int:
    """Write the scores by step and link the best checkpoint to where it stays; return the exit code."""
    output, kept = Path(settings["output"]), Path(settings["kept"])
    output.mkdir(parents=True, exist_ok=True)
    if not rows:
        print(f"{ME}: {settings['training']} has no complete checkpoint", file=sys.stderr)
        return 1
    best = next(row for row in rows if row["best"])
    place = kept / f"checkpoint-{best['step']}"
    if not complete(place):
        print(f"{ME}: the weights of checkpoint-{best['step']}, the best, are gone: train again", file=sys.stderr)
        return 1
    linked(place, output / "best")
    for row in rows:
        mine, shown = scores_of(settings, row["step"]), output / f"checkpoint-{row['step']}"
        linked(mine, shown)
        row["results"] = str(shown / Path(row["results"]).relative_to(mine))
    gone = missed(settings, rows)
    for step in gone:
        print(f"{ME}: checkpoint-{step} was deleted before it could be kept, so it has no scores")
    write(output / "scores.json", {"best": best["step"], "missed": gone, "checkpoints": rows})
    for step, folder in checkpoints(kept).items():
        if step != best["step"]:
            shutil.rmtree(folder)
    for row in rows:
        best_so_far = " (best)" if row["best"] else ""
        print(f"step {row['step']}: {settings['task']} {row['metric']} {row['value']:.4f}{best_so_far}", flush=True)
    if settings.get("track"):
        subprocess.run([sys.executable, str(HERE / "send_scores.py"), str(HERE / "checkpoints.json")], check=False)
    return 0


def watch(settings: dict, pid: int) -> int:
    """Keep checkpoints as long as a process runs, and evaluate them beside it if the settings say so."""
    at_work: subprocess.Popen | None = None
    asked: dict[int, list[int]] = {}
    end_where_enough(settings)
    while os.getppid() == pid:
        keep(settings)
        there = {step: identity(folder) for step, folder in checkpoints(Path(settings["kept"])).items()}
        if settings["beside"] and there != asked and (at_work is None or at_work.poll() is not None):
            asked = there
            variables = {
                name: value for name, value in os.environ.items() if name not in ("RECIPE_EVENTS", "RECIPE_STOP")
            }
            script = ["bash", str(HERE / "run.sh")]
            at_work = subprocess.Popen(script, env={**variables, "RECIPE_BESIDE": "1"}, start_new_session=True)
        time.sleep(TICK)
    if at_work is not None and at_work.poll() is None:  # what it has not evaluated is evaluated behind the training
        os.killpg(at_work.pid, signal.SIGTERM)
        at_work.wait()
    return 0


def main() -> int:
    """Do what the arguments say; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("settings")
    parser.add_argument("--keep", type=int, metavar="PID")
    given = parser.parse_args()
    settings = json.loads(Path(given.settings).read_text(encoding="utf-8"))
    if given.keep is not None:
        return watch(settings, given.keep)
    with alone(settings):
        if os.environ.get("RECIPE_BESIDE"):
            evaluate_kept(settings)
            return 0
        keep(settings)
        return choose(settings, evaluate_kept(settings))


if __name__ == "__main__":
    sys.exit(main())
