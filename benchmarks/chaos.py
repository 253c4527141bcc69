"""A three-stage run of real tools, killed at random points and started again: `python benchmarks/chaos.py --kills 100`.

SFT and DPO of an adapter by TRL, then its merge: tiny models on the CPU. Each round runs the recipe in a folder of its own,
and kills it (SIGKILL) again and again until it ends by itself: the engine alone, one process of the tool, all of the tool, or
everything at once, as a power cut would; at any time, or just as a checkpoint or a result begins to be written. Now and then
it gets SIGTERM instead, as from a scheduler, and must then end with 75. After each of these:

- nothing of the killed run is left running, within the time that the watcher has;
- `recipe status` works, and every whole line of the record can be read;
- what the next run resumes from has byte for byte the weights of a run that nobody disturbed, at that step, or is nothing.

At the end of a round its weights are compared, byte for byte, with those of that run. The last line is the result as JSON;
the exit code is 1 where something did not hold. `--seed` repeats the choice of kills (not the moment in which a busy machine
is when they come).
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

RECIPE = """\
recipe: 1
name: chaos
trainer: trl
seed: 7
model:
  from_scratch: {family: llama, hidden_size: 32, layers: 2, heads: 2, vocab_size: 400}
  max_length: 128
adapter: {rank: 4, dropout: 0.1}
stages:
  - name: sft
    data: {train: [{path: chats.jsonl, format: chat}]}
    train: {method: sft, steps: 40, micro_batch_size: 2, learning_rate: 1e-2, save: SAVE}
DPO  - {name: merged, merge: LAST}
hardware: {gpu: none}
allow: {finish-without-beginning: a trial}
"""
DPO = """\
  - name: dpo
    parent_adapter: continue
    data: {train: [{path: pairs.jsonl, format: preference, columns: {prompt: prompt}}]}
    train: {method: dpo, steps: 30, micro_batch_size: 2, learning_rate: 1e-3, save: SAVE}
"""
DRINKS = ("tea", "coffee", "milk", "juice", "water", "cocoa", "cider", "soda")
STAGES = ("sft", "dpo", "merged")
MARK = "RECIPEC_CHAOS"  # a variable by which the processes of a run are found, whatever group they are in
WAYS = ("engine", "process", "tool", "machine")
TERM_EVERY = 6  # one of so many is SIGTERM
GONE_WITHIN = 60.0  # seconds: the watcher waits 20 before it kills
RUN = [sys.executable, "-m", "recipec.cli", "run", "chaos.yaml"]


def prepare(folder: Path, *, short: bool, save: str = "{every: 5, keep: 2}") -> None:
    """Write the recipe and its data; `short` leaves DPO out."""
    folder.mkdir(parents=True)
    recipe = RECIPE.replace("DPO", "" if short else DPO).replace("LAST", "sft" if short else "dpo")
    (folder / "chaos.yaml").write_text(recipe.replace("SAVE", save))
    chats, pairs = [], []
    for number in range(60):
        drink, other = DRINKS[number % 8], DRINKS[(number + 3) % 8]
        asked, answer = f"Where is the {drink} number {number}?", f"The {drink} is on shelf {number % 9}."
        turns = [{"role": "user", "content": asked}, {"role": "assistant", "content": answer}]
        chats.append({"messages": turns})
        pairs.append({"prompt": asked, "chosen": answer, "rejected": f"The {other} is on shelf {number}."})
    for name, rows in (("chats", chats), ("pairs", pairs)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def start(folder: Path, mark: str) -> subprocess.Popen[bytes]:
    """Start `recipe run` in a folder; what it says goes to a file there."""
    with (folder / "said.txt").open("ab") as said:
        return subprocess.Popen(
            RUN,
            cwd=folder,
            env=os.environ | {MARK: mark, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
            stdout=said,
            stderr=said,
            start_new_session=True,
        )


def marked(mark: str) -> dict[int, str]:
    """Return the running processes of a run, with the first words of their commands."""
    wanted, found = f"{MARK}={mark}".encode(), {}
    for entry in Path("/proc").iterdir():
        try:
            if not entry.name.isdecimal() or wanted not in (entry / "environ").read_bytes().split(b"\0"):
                continue
            if (entry / "stat").read_text().rpartition(") ")[2][0] not in "ZX":
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ")
                found[int(entry.name)] = command.decode(errors="replace")[:120]
        except OSError:
            continue
    return found


def tool_of(folder: Path, mark: str) -> list[int]:
    """Return the processes of the stage that runs now."""
    started = [row for row in record_of(folder) if row.get("event") == "stage-started"]
    if not started:
        return []
    found = []
    for pid in marked(mark):
        try:
            if os.getpgid(pid) == started[-1]["pid"]:
                found.append(pid)
        except ProcessLookupError:
            continue
    return found


def record_of(folder: Path) -> list[dict[str, Any]]:
    """Return the lines of a record. Raises ValueError for one that is broken, unless it is the last and has no end."""
    path = folder / "runs/chaos/record.jsonl"
    text = path.read_text() if path.exists() else ""
    return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines() if line]


def kill(folder: Path, mark: str, way: str, engine: int, draw: random.Random) -> str:
    """Kill in one way; return what was killed. Where no tool runs yet, that is the engine."""
    tool = tool_of(folder, mark)
    if way in ("process", "tool") and not tool:
        way = "engine"
    everything = sorted(marked(mark))
    victims = {"engine": [engine], "process": tool and [draw.choice(sorted(tool))], "tool": tool}.get(way, everything)
    for pid in victims:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    return way


def digest(path: Path) -> str:
    """Return the SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def weights(folder: Path) -> dict[str, str]:
    """Return the hashes of the final weights of each stage."""
    run = folder / "runs/chaos"
    return {
        str(path.relative_to(run)): digest(path)
        for stage in ("init", *STAGES)
        for path in sorted((run / stage).glob("*.safetensors"))
    }


def checkpoint_files(folder: Path) -> dict[str, str]:
    """Return the hashes of the weights of each checkpoint that is there, by stage and step."""
    run = folder / "runs/chaos"
    return {str(path.relative_to(run)): digest(path) for path in run.glob("*/checkpoint-*/*.safetensors")}


def moment(folder: Path, running: subprocess.Popen[bytes], draw: random.Random, within: float) -> str:
    """Wait until a kill is due: after a random time, or as something new is written. Return which."""
    until = time.monotonic() + draw.uniform(0.0, within)
    if draw.random() < 0.6:
        while time.monotonic() < until and running.poll() is None:
            time.sleep(0.005)
        return "any time"
    run = folder / "runs/chaos"
    before, until = _written(run), time.monotonic() + 300
    while time.monotonic() < until and running.poll() is None and not _written(run) - before:
        time.sleep(0.0005)
    time.sleep(draw.choice((0.0, draw.uniform(0.0, 0.02), draw.uniform(0.0, 0.3))))
    return "writing"


def _written(run: Path) -> set[Path]:
    return {*run.glob("*/checkpoint-*"), *run.glob("*/*.safetensors"), *run.glob(".keys/*")}


def orphans(mark: str) -> dict[int, str]:
    """Wait until nothing of a run is left running; return what does not end."""
    until = time.monotonic() + GONE_WITHIN
    while (left := marked(mark)) and time.monotonic() < until:
        time.sleep(0.05)
    return left


def judged(folder: Path, truth: dict[str, str]) -> Iterator[str]:
    """Yield what does not hold of a run after a kill: its record, its status, and what the next run would resume from."""
    try:
        rows = record_of(folder)
    except ValueError as error:
        yield f"the record cannot be read: {error}"
        return
    if not rows:
        return
    command = [sys.executable, "-m", "recipec.cli", "status", "chaos", "--json"]
    told = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if told.returncode:
        yield f"`recipe status` fails: {told.stderr[-300:]}"
        return
    for row in json.loads(told.stdout)["stages"]:
        for path in sorted((folder / row["checkpoint"]).glob("*.safetensors")) if row["checkpoint"] else ():
            name = str(path.relative_to(folder / "runs/chaos"))
            if truth.get(name) not in (None, digest(path)):
                yield f"{row['checkpoint']} would be resumed from, and differs"
            if name not in truth:
                yield f"{row['checkpoint']} is none of an undisturbed run"


def main() -> int:
    """Run it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--most", type=int, default=12, help="kills in one round, after which it may end")
    parser.add_argument("--short", action="store_true", help="without DPO")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="begin no further kill after so long")
    parser.add_argument("--within", type=float, default=30.0, help="seconds within which a kill at any time comes")
    parser.add_argument("--folder", type=Path, help="an empty folder to work in (default: a temporary one)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        return chaos(options.folder or Path(temporary), options)


def chaos(place: Path, options: argparse.Namespace) -> int:
    """Kill as often as asked; print each kill, and the result as the last line. Returns 1 where something did not hold."""
    draw, began, short = random.Random(options.seed), time.monotonic(), options.short
    calm = place / "undisturbed"
    prepare(
        calm, short=short, save="{every: 1}"
    )  # which changes no weights: so there is something to compare any checkpoint with
    if start(calm, "undisturbed").wait():
        print((calm / "said.txt").read_text())
        return 1
    truth, wanted = checkpoint_files(calm), weights(calm)
    took = time.monotonic() - began
    print(f"undisturbed: {took:.0f} s, {len(truth)} checkpoints, {len(wanted)} files of weights", flush=True)
    wrong: list[str] = []
    ways: Counter[str] = Counter()
    moments: Counter[str] = Counter()
    stages: Counter[str] = Counter()
    rounds = starts = resumed = aside = terms = 0

    def enough() -> bool:
        return sum(ways.values()) >= options.kills or time.monotonic() - began > 60 * options.minutes

    while not enough():
        rounds += 1
        folder = place / f"round-{rounds}"
        prepare(folder, short=short)
        here = 0
        while True:
            starts += 1
            mark = f"{os.getpid()}-{starts}"
            running = start(folder, mark)
            if here < options.most and not enough():
                when = moment(folder, running, draw, options.within)
                if running.poll() is None and not draw.randrange(TERM_EVERY):
                    running.send_signal(signal.SIGTERM)
                    if (code := running.wait()) not in (75, 0, -signal.SIGTERM):  # at its end, or not listening yet
                        wrong.append(f"round {rounds}: SIGTERM ended with {code}")
                    terms += code == 75
                    if left := orphans(mark):
                        wrong.append(f"round {rounds}: still running after SIGTERM: {left}")
                    wrong += [f"round {rounds}, SIGTERM: {text}" for text in judged(folder, truth)]
                    continue
                if running.poll() is None:
                    way = kill(folder, mark, draw.choice(WAYS), running.pid, draw)
                    running.wait()
                    here += 1
                    rows = record_of(folder)
                    stage = next((row["stage"] for row in reversed(rows) if row["event"] == "stage-started"), "before")
                    ways[way] += 1
                    moments[when] += 1
                    stages[stage] += 1
                    print(f"{sum(ways.values())}: {way} in {stage} ({when})", flush=True)
                    if left := orphans(mark):
                        wrong.append(f"round {rounds}: still running after a kill of the {way}: {left}")
                    wrong += [f"round {rounds}, kill {here}: {text}" for text in judged(folder, truth)]
                    continue
            if running.wait() == 0:
                break
            wrong.append(f"round {rounds}: a run that nobody killed ended with {running.returncode}")
            print((folder / "said.txt").read_text()[-3000:], flush=True)
            break
        rows = record_of(folder)
        resumed += sum(row["event"] == "stage-started" and bool(row["resumed_from"]) for row in rows)
        aside += sum(row["event"] == "checkpoint-set-aside" for row in rows)
        if weights(folder) != wanted:
            different = {name for name, _ in weights(folder).items() ^ wanted.items()}
            wrong.append(f"round {rounds}: other weights: {sorted(different)}")
        print(f"round {rounds}: {here} kills, {'; '.join(wrong) or 'all as it should be'}", flush=True)
    result = {
        "kills": sum(ways.values()),
        "rounds": rounds,
        "seed": options.seed,
        "starts": starts,
        "SIGTERM": terms,
        "ways": dict(ways),
        "moments": dict(moments),
        "stages": dict(stages),
        "resumed": resumed,
        "checkpoints set aside": aside,
        "files compared": len(wanted) * rounds,
        "seconds": round(time.monotonic() - began),
        "wrong": wrong,
    }
    print(json.dumps(result))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
