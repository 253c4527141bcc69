"""Lets a model write programs, runs each in a sandbox with its tests behind it, and writes pass@k.

    python run_code.py code.json [lm_eval.yaml]   evaluate: lm-eval writes the programs, and never runs one
    python run_code.py code.json --check          only see whether programs can be run here, and that none gets out

Beside Python it needs what lm-eval needs; the check needs only Python.

pass@k of a problem is the unbiased estimate 1 - C(n-c, k) / C(n, k) of n programs of which c pass (Chen et al. 2021,
"Evaluating Large Language Models Trained on Code", arXiv:2107.03374, equation 1). The score is the mean over problems, its
standard error the sample standard deviation over problems divided by the root of their number, as lm-eval's is.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
from pathlib import Path
from statistics import fmean, stdev

from sandbox import FAILED, LATE, PASSED, Broken, Limits, Outcome, check, run_program

HERE = Path(__file__).resolve().parent
ME = Path(__file__).name
REFUSED = 3  # exit code: programs cannot be run here
WEIGHTS = ("*.safetensors", "*.bin")


def key_of(program: str, limits: Limits) -> str:
    """Return what tells a program, under these limits, from every other."""
    return hashlib.sha256(json.dumps([program, limits]).encode()).hexdigest()


def kept_outcomes(file: Path) -> dict[str, Outcome]:
    """Return what became of programs that were run before, by their keys; a line that was cut short is left out."""
    found: dict[str, Outcome] = {}
    if file.exists():
        for line in file.read_text(encoding="utf-8").splitlines():
            with suppress(ValueError, KeyError):
                row = json.loads(line)
                found[row["key"]] = Outcome(row["verdict"], row["why"])
    return found


def run_all(programs: list[str], limits: Limits, file: Path, *, boxed: bool, jobs: int) -> dict[str, Outcome]:
    """Run programs, so many at a time, each text once, and return what became of them by their keys.

    What is known is kept in a file, with a line for each, so that a run that was ended goes on.
    """
    found = kept_outcomes(file)
    left = {key: one for one in programs if (key := key_of(one, limits)) not in found}
    free = list(range(jobs))  # no two programs that run have the same

    def one(program: str) -> Outcome:
        slot = free.pop()
        try:
            return run_program(program, limits, boxed=boxed, slot=slot)
        finally:
            free.append(slot)

    with file.open("a", encoding="utf-8") as stream, ThreadPoolExecutor(jobs) as pool:
        stream.write("\n" if left and found else "")  # the last line may have been cut short
        at_work = {pool.submit(one, program): key for key, program in left.items()}
        try:
            for done in as_completed(at_work):
                outcome, key = done.result(), at_work[done]
                found[key] = outcome
                stream.write(json.dumps({"key": key, **outcome._asdict()}) + "\n")
                stream.flush()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return found


def pass_at(programs: int, passed: int, k: int) -> float:
    """Return the unbiased estimate that at least one of k programs passes, of so many of which some passed.

    It is 1 - C(n-c, k) / C(n, k), as a product that does not overflow (Chen et al. 2021, equation 1 and figure 3).
    Raises ValueError where fewer than k programs are there.
    """
    if not 0 <= passed <= programs or not 0 < k <= programs:
        raise ValueError(f"pass@{k} cannot be estimated of {programs} programs of which {passed} pass")
    if programs - passed < k:
        return 1.0
    return 1.0 - math.prod(1.0 - k / number for number in range(programs - passed + 1, programs + 1))


def mean_and_error(values: list[float]) -> tuple[float, float | None]:
    """Return the mean over problems and its standard error; None for a single problem."""
    return fmean(values), stdev(values) / math.sqrt(len(values)) if len(values) > 1 else None


def programs_of(row: dict) -> list[str]:
    """Return the programs that lm-eval made of the answers to a problem."""
    found = row["filtered_resps"]
    while len(found) == 1 and isinstance(found[0], list):
        found = found[0]
    return [str(one) for one in found]


def with_tests(row: dict, tests: str | None) -> list[str]:
    """Return the programs for a problem with its tests behind them: lm-eval's target, or a field of the problem."""
    behind = row["target"] if tests is None else row["doc"][tests]
    return [f"{program}\n{behind}" for program in programs_of(row)]


def scored(rows: list[dict], outcomes: list[list[Outcome]], pass_at_k: list[int]) -> tuple[dict, list[dict]]:
    """Return the scores of a task, as lm-eval names them, and its rows with what became of each program."""
    names, kept = [f"pass@{k}" for k in pass_at_k], []
    for row, found in zip(rows, outcomes, strict=True):
        passed = sum(one.verdict == PASSED for one in found)
        values = {name: pass_at(len(found), passed, k) for name, k in zip(names, pass_at_k, strict=True)}
        said = [f"{one.verdict}: {one.why}" if one.why else one.verdict for one in found]
        rest = {key: value for key, value in row.items() if key not in ("bypass", "metrics", "filter")}
        kept.append({**rest, "filter": "none", "metrics": names, **values, "outcomes": said})
    scores: dict[str, float | str] = {}
    for name in names:
        value, error = mean_and_error([row[name] for row in kept])
        scores[f"{name},none"], scores[f"{name}_stderr,none"] = value, "N/A" if error is None else error
    return scores, kept


def read_config(file: Path) -> dict:
    """Return lm-eval's run configuration."""
    import yaml  # lm-eval's own

    return yaml.safe_load(file.read_text(encoding="utf-8"))


def asked(settings: dict, config: dict) -> str:
    """Return the hash of what programs depend on: the configuration, how they are drawn, and the weights as they are."""
    drawn = [settings.get(key) for key in ("tasks", "samples", "temperature", "top_p", "max_new_tokens")]
    words = config.get("model_args") or {}
    loaded = [words[key] for key in ("pretrained", "peft", "lora_local_path") if words.get(key)]
    folders = [Path(str(path)) for path in (*loaded, *settings.get("weights", ())) if Path(str(path)).is_dir()]
    files = sorted(path for folder in folders for kind in WEIGHTS for path in folder.glob(kind))
    weights = [[str(path), path.stat().st_size, path.stat().st_mtime_ns] for path in files]
    return hashlib.sha256(json.dumps([config, drawn, weights], sort_keys=True).encode()).hexdigest()


def write(path: Path, text: str) -> None:
    """Write a file, whole or not at all."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    fresh.write_text(text, encoding="utf-8")
    fresh.replace(path)


def let_write(settings: dict, config: dict, place: Path) -> dict:
    """Let lm-eval write the programs into a folder, unless it has them from there, and return what is known of them.

    Beside `written.json`, which is that, there is a file for each task, and lm-eval's own results. Raises SystemExit where it fails.
    """
    told, own = place / "written.json", asked(settings, config)
    if told.exists() and (known := json.loads(told.read_text(encoding="utf-8")))["asked"] == own:
        print(f"{ME}: the programs in {place} are kept", flush=True)
        return known
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    file, output = place / "lm_eval.yaml", place / "lm_eval"
    changed = {**config, "output_path": str(output), "log_samples": True}
    write(file, json.dumps(changed, indent=2) + "\n")  # which is YAML too
    words = [word.replace("{here}", str(HERE)) for word in settings["command"]]
    code = subprocess.run([*words, str(file)], check=False).returncode
    if code:
        raise SystemExit(f"{ME}: lm-eval failed (exit code {code})")
    found = sorted(output.rglob("results_*.json"), key=lambda path: path.name)
    if not found:
        raise SystemExit(f"{ME}: lm-eval left no results in {output}")
    stamp = found[-1].stem.removeprefix("results_")
    results = json.loads(found[-1].read_text(encoding="utf-8"))
    for task in results["configs"]:
        rows = found[-1].with_name(f"samples_{task}_{stamp}.jsonl")
        if rows.exists():
            rows.rename(place / f"{task}.jsonl")
    found[-1].rename(place / "lm_eval.json")
    known = {"asked": own, "time": stamp, "folder": found[-1].parent.name, "tasks": list(results["configs"])}
    shutil.rmtree(output)
    write(told, json.dumps(known, indent=2) + "\n")
    return known


def rows_of(file: Path, task: str, samples: int) -> list[dict]:
    """Return the rows of a task by the number of the problem. Raises SystemExit where they are not so many programs each."""
    if not file.exists():
        raise SystemExit(f"{ME}: lm-eval wrote no programs for {task}")
    rows = [json.loads(line) for line in file.read_text(encoding="utf-8").split("\n") if line]
    rows = sorted((row for row in rows if row["filter"] == rows[0]["filter"]), key=lambda row: row["doc_id"])
    if wrong := next((row for row in rows if len(programs_of(row)) != samples), None):
        number = len(programs_of(wrong))
        raise SystemExit(
            f"{ME}: problem {wrong['doc_id']} of {task} has {number} programs, and {samples} were asked for"
        )
    return rows


def evaluate(settings: dict, config: dict) -> None:
    """Let a model write programs, run them, and write the scores as lm-eval does, beside those of its other tasks."""
    output, limits = Path(config["output_path"]), limits_of(settings)
    place = output / "programs"
    known = let_write(settings, config, place)
    results = json.loads((place / "lm_eval.json").read_text(encoding="utf-8"))
    rows = {task: rows_of(place / f"{task}.jsonl", task, settings["samples"]) for task in settings["tasks"]}
    programs = {task: [with_tests(row, settings["tests"].get(task)) for row in found] for task, found in rows.items()}
    every = [one for found in programs.values() for some in found for one in some]
    jobs = settings.get("jobs") or len(os.sched_getaffinity(0))
    outcomes = run_all(every, limits, place / "outcomes.jsonl", boxed=settings["sandbox"], jobs=jobs)
    folder = output / known["folder"]
    folder.mkdir(parents=True, exist_ok=True)
    for task, found in rows.items():
        ends = [[outcomes[key_of(one, limits)] for one in some] for some in programs[task]]
        scores, kept = scored(found, ends, settings["pass_at"])
        others = {key: value for key, value in results["results"][task].items() if not key.startswith("bypass")}
        results["results"][task] = {**others, **scores}
        names = [name.partition(",")[0] for name in scores if "_stderr" not in name]
        results["higher_is_better"][task] = dict.fromkeys(names, True)
        metrics = [{"metric": name, "aggregation": "mean", "higher_is_better": True} for name in names]
        results["configs"][task]["metric_list"] = metrics
        lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in kept)
        if settings["log_samples"]:
            write(folder / f"samples_{task}_{known['time']}.jsonl", lines)
        say_scores(task, scores, ends)
    for task in known["tasks"]:
        if task not in rows and settings["log_samples"] and (place / f"{task}.jsonl").exists():
            target = folder / f"samples_{task}_{known['time']}.jsonl"
            target.unlink(missing_ok=True)
            os.link(place / f"{task}.jsonl", target)
    results["code"] = {key: settings[key] for key in ("tasks", "samples", "sandbox", *Limits._fields)}
    write(folder / f"results_{known['time']}.json", json.dumps(results, indent=2, ensure_ascii=False) + "\n")


def say_scores(task: str, scores: dict, ends: list[list[Outcome]]) -> None:
    """Print the scores of a task, and how many programs came to which end."""
    for name in (key for key in scores if "_stderr" not in key):
        metric, _, kind = name.partition(",")
        error = scores[f"{metric}_stderr,{kind}"]
        print(f"{task} {metric}: {scores[name]:.4f}{f' ± {error:.4f}' if isinstance(error, float) else ''}")
    verdicts = [one.verdict for some in ends for one in some]
    counts = ", ".join(f"{verdicts.count(one)} {one}" for one in (PASSED, FAILED, LATE))
    print(f"{task}: {len(ends)} problems, {len(verdicts)} programs: {counts}", flush=True)


def limits_of(settings: dict) -> Limits:
    """Return what a program may use."""
    return Limits(*(settings[name] for name in Limits._fields))


def main(words: list[str]) -> int:
    """Do what the command line asks for; return the exit code."""
    only_check = "--check" in words
    files = [Path(word) for word in words if word != "--check"]
    settings = json.loads(files[0].read_text(encoding="utf-8"))
    try:
        if settings["sandbox"]:
            check(limits_of(settings))
        else:
            print(f"{ME}: NO SANDBOX: what the model writes is run with your rights, as the recipe says", flush=True)
        if not only_check:
            evaluate(settings, read_config(files[1] if len(files) > 1 else HERE / settings["config"]))
    except Broken as error:
        print(f"{ME}: programs that a model writes cannot be run here: {error}", file=sys.stderr)
        return REFUSED
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
