"""Measure a server by settings: `python benchmark_server.py measure.json server.json`.

Starts the server with each of the settings, asks it by each of the loads with the tool that is named, and stops it. What the tool writes
is kept. A server that does not start with some settings is a result of those. Started again, it measures only what is missing.
Then it says which settings answer most within the limits, and why the others do not. Copied as it is into the output of a recipe that
measures; needs only Python beside the tool.
"""

import hashlib
import json
import math
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from check_server import Wrong
from with_server import running

PERCENTILES = ("50", "90", "95", "99")
TIMES = {"first_token_ms": "first token", "between_tokens_ms": "time between tokens"}
GOOD = {"ttft": "first_token_ms", "tpot": "between_tokens_ms"}  # as vLLM calls them
CHANCE = 0.02  # share by which what is measured once differs by chance
LONGEST = 120  # letters of the name of a folder
SHOWN = 3  # lines of a log that a message has


def say(text: str) -> None:
    """Tell whoever follows how far it is."""
    print(text, flush=True)


def read(path: Path) -> dict:
    """Return a file of JSON; an empty object where it is missing, or was cut short."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def write(path: Path, text: str) -> None:
    """Write a file all at once."""
    fresh = path.with_name(f".{path.name}.new")
    fresh.write_text(text, encoding="utf-8")
    fresh.replace(path)


def dump(value: object) -> str:
    """Return JSON for people."""
    return json.dumps(value, indent=1, ensure_ascii=False) + "\n"


def last_lines(path: Path) -> str:
    """Return the last lines of a log, in one line."""
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines() if path.exists() else []
    return " | ".join(line.strip() for line in lines[-40:] if line.strip()[:1].isalnum() or "rror" in line)[-400:]


# What is asked, and what the tools say of it.


def vllm_bench(settings: dict, load: dict, told: dict[str, str], raw: Path) -> list[str]:
    """Return the command that measures by `vllm bench serve`, and leaves what it found at `raw`."""
    words = ["vllm", "bench", "serve", "--model", told["RECIPE_SERVER_MODEL"]]
    words += ["--base-url", told["RECIPE_SERVER_URL"].removesuffix("/v1")]
    given = json.loads((here() / settings["told"]).read_text(encoding="utf-8"))[load["name"]]
    for word, value in given.items():
        option = f"--{word.replace('_', '-')}"
        if isinstance(value, bool):
            words += [option] if value else []
        else:
            words += [option, *map(str, value if isinstance(value, list) else [value])]
    slo = settings["slo"] or {}
    good = [f"{word}:{slo[name]:g}" for word, name in GOOD.items() if slo.get(name) is not None]
    words += ["--goodput", *good] if good else []
    return [*words, "--disable-tqdm", "--save-result", "--result-dir", str(raw.parent), "--result-filename", raw.name]


def of_vllm_bench(found: dict) -> dict:
    """Return what `vllm bench serve` found, in the words of all tools."""
    return {
        "completed": found["completed"],
        "failed": found["failed"],
        "timed": found["completed"],
        "seconds": found["duration"],
        "input_tokens": found["total_input_tokens"],
        "output_tokens": found["total_output_tokens"],
        "output_tokens_per_second": found["output_throughput"],
        "requests_per_second": found["request_throughput"],
        "good_requests_per_second": found["request_goodput"],
        "first_token_ms": {one: found[f"p{one}_ttft_ms"] for one in PERCENTILES},
        "between_tokens_ms": {one: found[f"p{one}_tpot_ms"] for one in PERCENTILES},
    }


def guidellm(_settings: dict, load: dict, told: dict[str, str], raw: Path) -> list[str]:
    """Return the command that measures by GuideLLM, and leaves what it found at `raw`."""
    scenario = json.loads((here() / f"{load['name']}.json").read_text(encoding="utf-8"))
    backend = scenario["spec"]["backend"]
    backend |= {"target": told["RECIPE_SERVER_URL"].removesuffix("/v1"), "model": told["RECIPE_SERVER_MODEL"]}
    scenario["spec"]["outputs"] = [{"kind": "json", "path": str(raw)}]
    asked = raw.with_name(f"{load['name']}.scenario.json")
    write(asked, dump(scenario))
    return ["guidellm", "run", "--config", str(asked), "--disable-console"]


def of_guidellm(found: dict) -> dict:
    """Return what GuideLLM found, in the words of all tools."""
    [one] = found["benchmarks"]
    metrics = one["metrics"]
    totals = metrics["request_totals"]

    def of(name: str, word: str) -> float:
        return (metrics[name]["successful"] or {}).get(word) or 0

    def times(name: str) -> dict:
        there = metrics[name]["successful"] or {}
        return {each: there["percentiles"][f"p{each}"] if there.get("count") else None for each in PERCENTILES}

    good = (metrics["request_goodput"] or {}).get("successful")
    return {
        "completed": totals["successful"],
        "failed": totals["errored"] + totals["incomplete"],
        "timed": of("time_to_first_token_ms", "count"),
        "seconds": one["duration"],
        "input_tokens": of("prompt_token_count", "total_sum"),
        "output_tokens": of("output_token_count", "total_sum"),
        "output_tokens_per_second": of("output_tokens_per_second", "mean"),
        "requests_per_second": of("requests_per_second", "mean"),
        "good_requests_per_second": good["mean"] if good else None,
        "first_token_ms": times("time_to_first_token_ms"),
        "between_tokens_ms": times("inter_token_latency_ms"),
    }


TOOLS = {"vllm_bench": (vllm_bench, of_vllm_bench), "guidellm": (guidellm, of_guidellm)}
KEYS = {"vllm_bench": "OPENAI_API_KEY", "guidellm": "GUIDELLM__SPEC__BACKEND__API_KEY"}  # where each looks for the key


def here() -> Path:
    """Return the folder of this program."""
    return Path(__file__).resolve().parent


def key(settings: dict, server: dict, point: dict, load: dict) -> str:
    """Return what a measurement depends on, as a hash: what was measured by something else is measured again."""
    served = (here() / server["serve"]).parent
    files = {one.name: one.read_bytes().hex() for one in sorted(served.glob("*")) if one.is_file()}
    tool = here() / (settings.get("told") or f"{load['name']}.json")
    told = json.loads(tool.read_text(encoding="utf-8"))
    told = told[load["name"]] if "told" in settings else told
    parts = [settings["tool"], settings["release"], server, files, point["options"], load, told]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def ask(settings: dict, load: dict, told: dict[str, str], place: Path) -> dict:
    """Measure a running server by one load; return what was found, or what kept it from being found."""
    command, result = TOOLS[settings["tool"]]
    raw, log = place / f"{load['name']}.json", place / f"{load['name']}.log"
    raw.unlink(missing_ok=True)
    variables = dict(os.environ)
    if told["RECIPE_SERVER_KEY"]:
        variables[KEYS[settings["tool"]]] = told["RECIPE_SERVER_KEY"]
    with log.open("w", encoding="utf-8") as output:
        words = command(settings, load, told, raw)
        done = subprocess.run(words, env=variables, stdout=output, stderr=output, check=False)
    found = read(raw)
    if done.returncode or not found:
        return {"problem": f"{settings['tool']} ended with exit code {done.returncode}: {last_lines(log)}"}
    row = result(found)
    row["problem"] = "" if row["completed"] else f"all {row['failed']} requests failed: {last_lines(log)}"
    return row


# Measuring.


def folder(output: Path, name: str) -> Path:
    """Return the folder of a point."""
    short = name if len(name) <= LONGEST else f"{name[:LONGEST]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
    return output / "points" / short


def measure(settings: dict, server: dict, point: dict, place: Path) -> list[dict]:
    """Return the measurements of one point, of which those that are there already are kept.

    Where the server does not start, all that is missing has that for its problem.
    """
    place.mkdir(parents=True, exist_ok=True)
    kept: dict[str, dict] = {}
    for load in settings["loads"]:
        there = read(place / f"{load['name']}.measured.json")
        if there.get("key") == key(settings, server, point, load):
            kept[load["name"]] = there["found"]
    missing = [load for load in settings["loads"] if load["name"] not in kept]
    if missing:
        say(f"{point['name']}: the server is started")
        log = place / "server.log"
        try:
            with log.open("w", encoding="utf-8") as output, running(server, point["options"], output) as told:
                for load in missing:
                    kept[load["name"]] = found = ask(settings, load, told, place)
                    say(f"{point['name']}, {load['name']}: {found['problem'] or short(found)}")
                    keep(settings, server, point, load, found, place)
        except Wrong as error:
            problem = f"{error}: {last_lines(log)}"
            say(f"{point['name']}: {problem}")
            for load in missing:
                if load["name"] not in kept:
                    kept[load["name"]] = found = {"problem": problem}
                    keep(settings, server, point, load, found, place)
    words = ("name", "workload", "input", "output", "shared_prefix", "concurrency", "rate", "requests")
    return [
        {"point": point["name"], **{"load" if one == "name" else one: load[one] for one in words}, **kept[load["name"]]}
        for load in settings["loads"]
    ]


def keep(settings: dict, server: dict, point: dict, load: dict, found: dict, place: Path) -> None:
    """Write what was found of one measurement, by which it counts as done."""
    there = {"key": key(settings, server, point, load), "found": found}
    write(place / f"{load['name']}.measured.json", dump(there))


def forget(settings: dict, output: Path) -> None:
    """Drop what was kept of measurements that failed, so that they are made again."""
    for point in settings["points"]:
        for load in settings["loads"]:
            there = folder(output, point["name"]) / f"{load['name']}.measured.json"
            if read(there).get("found", {}).get("problem"):
                there.unlink()


def short(row: dict) -> str:
    """Return a measurement in a few words."""
    times = ", ".join(f"{what} {row[word]['50']:.0f} ms" for word, what in TIMES.items() if row[word]["50"] is not None)
    failed = f", {row['failed']} failed" if row["failed"] else ""
    return f"{row['output_tokens_per_second']:.0f} tokens/s, half within {times}{failed}"


# Choosing.


def broken(row: dict, slo: dict | None) -> str:
    """Return why a measurement does not count; an empty text where all requests were answered, and within the limits."""
    if row["problem"]:
        return row["problem"]
    if row["failed"]:
        return f"{row['failed']} of {row['failed'] + row['completed']} requests failed"
    for word, what in TIMES.items():
        limit = (slo or {}).get(word)
        if slo is None or limit is None:
            continue
        share, value = slo["percentile"], row[word][str(slo["percentile"])]
        if value is None or row["timed"] < row["completed"] * share / 100:
            return f"{what}: not seen of {row['completed'] - row['timed']} of {row['completed']} answers"
        if value > limit:
            return f"{what} {value:.4g} ms, {limit:g} at most (p{share})"
    return ""


def front(rows: Sequence[dict], word: str, share: str) -> list[dict]:
    """Return the measurements than which no other writes more tokens a second at no longer times, the fewest tokens first."""
    there = [row for row in rows if not row["problem"] and not row["failed"] and row[word][share] is not None]
    by_speed = sorted(there, key=lambda row: (-row["output_tokens_per_second"], row[word][share]))
    found: list[dict] = []
    least = math.inf
    for row in by_speed:
        if row[word][share] < least:
            least = row[word][share]
            found.append(row)
    return found[::-1]


def choose(points: Sequence[dict], rows: Sequence[dict], slo: dict | None) -> tuple[dict | None, list[dict]]:
    """Return which point writes most tokens a second within the limits, and why each of the others is not it.

    Of several workloads, each must hold; a point's shares of the most of each are multiplied, and the root of that compared. Among those
    that differ by no more than CHANCE, the one that comes first is best.
    """
    workloads = list(dict.fromkeys(row["workload"] for row in rows))
    held: dict[str, dict[str, dict]] = {one["name"]: {} for one in points}
    lost: dict[str, str] = {}
    for point in points:
        for workload in workloads:
            own = [row for row in rows if row["point"] == point["name"] and row["workload"] == workload]
            good = [row for row in own if not broken(row, slo)]
            if good:
                held[point["name"]][workload] = max(good, key=lambda row: row["output_tokens_per_second"])
            else:
                why = [f"{row['load']}: {broken(row, slo)}" for row in own]
                same = {broken(row, slo) for row in own}
                lost.setdefault(point["name"], broken(own[0], slo) if len(same) == 1 else "; ".join(why))
    able = [point for point in points if point["name"] not in lost]
    most = {
        workload: max((held[one["name"]][workload]["output_tokens_per_second"] for one in able), default=0.0)
        for workload in workloads
    }

    def value(name: str) -> float:
        shares = [held[name][one]["output_tokens_per_second"] / most[one] if most[one] else 0.0 for one in workloads]
        return math.prod(shares) ** (1 / len(shares))

    top = max((value(one["name"]) for one in able), default=0.0)
    best = next((one for one in able if value(one["name"]) >= top * (1 - CHANCE)), None)
    others = [
        {"point": point["name"], "why": lost[point["name"]]}
        if point["name"] in lost
        else {"point": point["name"], "why": slower(held[point["name"]], held[best["name"]])}
        for point in points
        if best is None or point is not best
    ]
    if best is None:
        return None, others
    chosen = {"point": best["name"], "settings": best["settings"], "loads": {}}
    for workload, row in held[best["name"]].items():
        chosen["loads"][workload] = {
            "load": row["load"],
            "output_tokens_per_second": row["output_tokens_per_second"],
            **{word: row[word][str((slo or {}).get("percentile", 50))] for word in TIMES},
        }
    return chosen, others


def slower(own: dict[str, dict], best: dict[str, dict]) -> str:
    """Return what one point reached beside the best, in each workload."""
    said = []
    for workload, row in own.items():
        speed, top = row["output_tokens_per_second"], best[workload]["output_tokens_per_second"]
        said.append(f"{speed:,.0f} tokens/s at {row['load']}, {speed / top - 1:+.1%}" if top else "no tokens")
    return "; ".join(said)


def pasted(chosen: dict | None, slo: dict | None) -> str:
    """Return the recipe's words for the best settings."""
    within = " within the limits" if slo else ""
    if chosen is None:
        return "# No settings held the limits: benchmark.json says how far each was.\n"
    head = "".join(
        f"# {workload}: {one['output_tokens_per_second']:.0f} tokens/s at {one['load']}, the most{within}.\n"
        for workload, one in chosen["loads"].items()
    )
    words = "".join(f"  {word}: {json.dumps(value)}\n" for word, value in chosen["settings"].items())
    return head + (f"serve:\n{words}" if words else "serve: {}  # as it was\n")


def concluded(settings: dict, rows: Sequence[dict]) -> dict:
    """Return all that is written of the measurements: they themselves, what no other beats, and what is best."""
    slo, words = settings["slo"], ("name", "settings")
    share = str((slo or {}).get("percentile", 50))
    fronts: dict[str, dict] = {}
    for workload in dict.fromkeys(row["workload"] for row in rows):
        own = [row for row in rows if row["workload"] == workload]
        fronts[workload] = {word: [[row["point"], row["load"]] for row in front(own, word, share)] for word in TIMES}
    chosen, others = choose(settings["points"], rows, slo)
    points = [{word: one[word] for word in words} for one in settings["points"]]
    told = {word: settings[word] for word in ("tool", "release", "slo")}
    return {**told, "points": points, "measurements": rows, "fronts": fronts, "best": chosen, "others": others}


def main(settings: dict, server: dict) -> None:
    """Measure all, and write what was found and what is best of it."""
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, lambda *_: sys.exit(130))
    output = Path(settings["output"])
    output.mkdir(parents=True, exist_ok=True)
    rows: list[dict] = []
    for point in settings["points"]:
        rows += measure(settings, server, point, folder(output, point["name"]))
    found = concluded(settings, rows)
    chosen = found["best"]
    write(output / settings["file"], dump(found))
    if all(row["problem"] for row in rows):
        forget(settings, output)
        raise Wrong(f"nothing was measured: {rows[0]['problem']}")
    write(output / settings["chosen"], pasted(chosen, settings["slo"]))
    say(f"the best: {chosen['point']}" if chosen else "no settings held the limits")


if __name__ == "__main__":
    try:
        main(*(json.loads(Path(one).read_text(encoding="utf-8")) for one in sys.argv[1:3]))
    except (OSError, Wrong, KeyError, ValueError) as error:
        sys.exit(f"benchmark_server.py: {error}")
