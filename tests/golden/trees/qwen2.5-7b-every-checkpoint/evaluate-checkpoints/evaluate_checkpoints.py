"""Evaluates the checkpoints of a training, and keeps the best of them.

    python evaluate_checkpoints.py checkpoints.json             evaluate those that were not, and choose the best
    python evaluate_checkpoints.py checkpoints.json --keep PID  keep each from being deleted, as long as process PID runs

A checkpoint is kept by hard links in a folder beside it, without the states of its optimizer, so that the trainer may
delete its own: only complete ones are, and only links are made. With `beside` in the settings, what is kept is also
evaluated while the training goes on. Keeping needs nothing but Python.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
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


def complete(folder: Path, step: int | None = None) -> bool:
    """Return whether a checkpoint is whole: its trainer_state.json, written last, says its own step."""
    if (folder / "checkpoint-is-incomplete.txt").exists():
        return False
    try:
        state = json.loads((folder / "trainer_state.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(state, dict) and state.get("global_step") == (step_of(folder) if step is None else step)


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


def asked_for(settings: dict, step: int) -> bool:
    """Return whether the checkpoint of a step shall be evaluated."""
    return not (settings.get("every") and step % settings["every"])


def keep(settings: dict) -> None:
    """Keep every checkpoint that is there and shall be evaluated."""
    kept = Path(settings["kept"])
    for step, folder in checkpoints(Path(settings["training"])).items():
        mine = kept / folder.name
        try:
            if not asked_for(settings, step) or (complete(mine) and identity(mine) == identity(folder)):
                continue
            kept.mkdir(parents=True, exist_ok=True)
            linked(folder, mine, NOT_WEIGHTS)
            if not complete(folder):  # it was deleted meanwhile, and perhaps not all of it was there any more
                shutil.rmtree(mine)
        except FileNotFoundError:  # deleted meanwhile
            continue


def subjects(settings: dict) -> dict[int, Path]:
    """Return where the checkpoints are that shall be evaluated, by step: as the trainer left them, or kept."""
    found = {**checkpoints(Path(settings["kept"])), **checkpoints(Path(settings["training"]))}
    return {step: folder for step, folder in sorted(found.items()) if asked_for(settings, step)}


def scores_of(place: Path, step: int) -> Path:
    """Return the folder of the scores of a checkpoint, in that of all scores."""
    return place / f"checkpoint-{step}"


def config_of(settings: dict, folder: Path, output: Path) -> dict:
    """Return lm-eval's configuration for a checkpoint: the one beside this script, with that in the folder's place."""
    import yaml  # lm-eval's own; keeping does without

    found = yaml.safe_load((HERE / settings["config"]).read_text(encoding="utf-8"))
    for key, value in found["model_args"].items():
        if value == settings["kept"]:
            found["model_args"][key] = str(folder)
    return {**found, "output_path": str(output)}


def digest(settings: dict) -> str:
    """Return the hash of what checkpoints are asked, and of where they are."""
    files = [settings[key] for key in ("config", "beside_config") if key in settings]
    return hashlib.sha256(b"".join((HERE / name).read_bytes() for name in files)).hexdigest()


def about(place: Path, step: int) -> dict:
    """Return what was recorded of the evaluation of a checkpoint; nothing where it was not evaluated to its end."""
    with suppress(OSError, ValueError):
        return json.loads((scores_of(place, step) / "of.json").read_text(encoding="utf-8"))
    return {}


def evaluated(settings: dict, place: Path, step: int, folder: Path) -> bool:
    """Return whether a checkpoint has its scores already: of these weights and of these questions."""
    told = about(place, step)
    return bool(told) and told["checkpoint"] == identity(folder) and told["asked"] == digest(settings)


def newest(folder: Path) -> Path:
    """Return the newest results of lm-eval below a folder. Raises SystemExit where there are none."""
    files = sorted(folder.rglob("results_*.json"), key=lambda path: path.name)
    if not files:
        raise SystemExit(f"{ME}: lm-eval left no results in {folder}")
    return files[-1]


def evaluate(settings: dict, place: Path, step: int, folder: Path) -> None:
    """Let lm-eval evaluate one checkpoint. Raises SystemExit where it fails."""
    import yaml

    output, who = scores_of(place, step), identity(folder)
    shutil.rmtree(output, ignore_errors=True)
    output.mkdir(parents=True)
    config = output / settings["config"]
    said = yaml.safe_dump(config_of(settings, folder, output), sort_keys=False, allow_unicode=True)
    config.write_text(said, encoding="utf-8")
    print(f"{ME}: checkpoint-{step}", flush=True)
    words = [word.replace("{here}", str(HERE)) for word in settings["command"]]
    code = subprocess.run([*words, str(config)], check=False).returncode
    if code:
        raise SystemExit(f"{ME}: lm-eval failed on checkpoint-{step} (exit code {code})")
    results = newest(output)
    told = {"checkpoint": who, "asked": digest(settings), "results": str(results.relative_to(output))}
    write(output / "of.json", told)
    deciding(settings, json.loads(results.read_text(encoding="utf-8")))  # a metric that is missing is told at the first


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


def scored(settings: dict, place: Path, steps: set[int] | None = None) -> list[dict]:
    """Return what was measured of each checkpoint (of some steps) that has its scores there; the best one says so."""
    rows = []
    for folder in place.glob("checkpoint-*"):
        step = step_of(folder)
        told = about(place, step) if step is not None else {}
        if not told or told["asked"] != digest(settings) or (steps is not None and step not in steps):
            continue
        results = json.loads((folder / told["results"]).read_text(encoding="utf-8"))
        metric, value, upwards = deciding(settings, results)
        numbers = {
            task: {key: one for key, one in row.items() if "," in key} for task, row in results["results"].items()
        }
        more = {"metric": metric, "value": value, "higher_is_better": upwards, "tasks": numbers}
        rows.append({"step": step, "results": str(folder / told["results"]), **more})
    rows.sort(key=lambda row: row["step"])
    best = max(
        rows, key=lambda row: (row["value"] if row["higher_is_better"] else -row["value"], -row["step"]), default=None
    )
    return [{**row, "best": row is best} for row in rows]


def missed(settings: dict, rows: list[dict]) -> list[int]:
    """Return the steps that have no scores, because their checkpoints were gone before they could be kept."""
    between = settings.get("every") or settings["saved"]
    if not isinstance(between, int):
        return []
    return sorted(set(range(between, rows[-1]["step"], between)) - {row["step"] for row in rows})


def beside(settings: dict) -> int:
    """Evaluate every kept checkpoint that has no scores yet, the oldest first; return the exit code.

    Where enough were no better, the training is told so.
    """
    place = Path(settings["kept"]) / "scores"
    for step, folder in checkpoints(Path(settings["kept"])).items():
        if not evaluated(settings, place, step, folder):
            evaluate(settings, place, step, folder)
        end_where_enough(settings)
    return 0


def end_where_enough(settings: dict) -> None:
    """Tell the training to end where enough checkpoints in a row were not better, and that it may go on elsewhere."""
    kept, patience = Path(settings["kept"]), settings.get("early_stopping")
    rows = scored(settings, kept / "scores")
    best = next((row["step"] for row in rows if row["best"]), None)
    since = [row["step"] for row in rows if best is not None and row["step"] > best]
    if patience and len(since) >= patience:
        write(kept / ENOUGH, {"best": best, "not_better": since})
    else:
        (kept / ENOUGH).unlink(missing_ok=True)


def choose(settings: dict) -> int:
    """Evaluate what has no scores yet, write the scores by step, and link the best checkpoint to where it stays.

    Returns the exit code.
    """
    output, kept, there = Path(settings["output"]), Path(settings["kept"]), subjects(settings)
    if not there:
        print(f"{ME}: {settings['training']} has no complete checkpoint to evaluate", file=sys.stderr)
        return 1
    output.mkdir(parents=True, exist_ok=True)
    for step, folder in there.items():
        if evaluated(settings, output, step, folder):
            continue
        if evaluated(settings, kept / "scores", step, folder):  # while the training went on
            linked(scores_of(kept / "scores", step), scores_of(output, step))
        else:
            evaluate(settings, output, step, folder)
    freed = read_freed(kept)
    known = [step for step, who in freed.items() if about(output, step).get("checkpoint") == who]
    rows = scored(settings, output, {*there, *known})
    best = next(row for row in rows if row["best"])["step"]
    if best in there:
        linked(there[best], output / "best", NOT_WEIGHTS)
    elif not complete(output / "best", best):
        print(f"{ME}: the weights of checkpoint-{best}, the best, are gone: train again", file=sys.stderr)
        return 1
    gone = missed(settings, rows)
    for step in gone:
        print(f"{ME}: checkpoint-{step} is not there any more, and has no scores")
    write(output / "scores.json", {"best": best, "missed": gone, "checkpoints": rows})
    for row in rows:
        mark = " (best)" if row["best"] else ""
        print(f"step {row['step']}: {settings['task']} {row['metric']} {row['value']:.4f}{mark}", flush=True)
    if settings.get("track"):
        subprocess.run([sys.executable, str(HERE / "send_scores.py"), str(HERE / "checkpoints.json")], check=False)
    if settings["frees"]:
        free(kept, best)
    return 0


def read_freed(kept: Path) -> dict[int, list[int]]:
    """Return the checkpoints that were kept and are no more, by step: they have been evaluated, and others were better."""
    file = kept / "freed.json"
    told = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    return {int(step): who for step, who in told.items()}


def free(kept: Path, best: int) -> None:
    """Delete what is kept, but for the best."""
    others = {step: folder for step, folder in checkpoints(kept).items() if step != best}
    if others:
        write(kept / "freed.json", {**read_freed(kept), **{step: identity(one) for step, one in others.items()}})
    for folder in others.values():
        shutil.rmtree(folder)


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
    return beside(settings) if os.environ.get("RECIPE_BESIDE") else choose(settings)


if __name__ == "__main__":
    sys.exit(main())
