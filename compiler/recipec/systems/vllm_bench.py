"""`vllm bench serve` of vLLM 0.33: what it is told of each measurement, and files for `vllm bench sweep serve`."""

from __future__ import annotations

import json
import shlex
from typing import Any

from recipec.facts import pinned
from recipec.kinds.benchmark import Benchmark
from recipec.systems import benchmarking, on_cpu, serving
from recipec.systems.check import Check, refuses
from recipec.systems.document import Sheet
from recipec.systems.on_cpu import OnCpu
from recipec.systems.registry import system
from recipec.systems.system import Need, System
from recipec.systems.table import Row, constant, flag, nonzero, same, within

TOOL, PACKAGE, ENVIRONMENT = "vllm_bench", "vllm", "vllm-0.33.0"
LOADS, POINTS, SWEEP, PORT = "sweep_bench.json", "sweep_serve.json", "sweep.sh", 8000


def _rows(index: int) -> tuple[Row, ...]:
    """Return what one measurement is told. Answers go on to their last token: of made-up prompts it sees to that itself."""
    at = f"loads.{index}"
    return (
        constant("backend", "openai"),
        constant("dataset_name", "random"),
        same("random_input_len", f"{at}.input"),
        same("random_output_len", f"{at}.output"),
        nonzero("random_prefix_len", f"{at}.shared_prefix"),
        same("max_concurrency", f"{at}.concurrency"),
        same("request_rate", f"{at}.rate"),
        same("num_prompts", f"{at}.requests"),
        nonzero("num_warmups", f"{at}.warmup"),
        same("seed", f"{at}.seed"),
        constant("temperature", 0),
        same("tokenizer", "server.tokenizer"),
        flag("trust_remote_code", "trust_remote_code"),
        constant("metric_percentiles", ",".join(map(str, benchmarking.PERCENTILES))),
        constant("percentile_metrics", "ttft,tpot,itl,e2el"),
    )


def _sheets(s: Benchmark, environment: str) -> list[Sheet]:
    release = pinned(environment, PACKAGE)
    rows = tuple(row for index, one in enumerate(s.loads) for row in within(one.name, *_rows(index)))
    loads = Sheet(LOADS, rows, PACKAGE, release, "sweep_bench", "json", raw_keys=False)
    return [loads, *benchmarking.sheets(TOOL, PACKAGE, release, constant("told", LOADS))]


def _files(s: Benchmark) -> dict[str, str]:
    """Return the script, and the same settings for vLLM's own sweep."""
    points = {one.name: _sweeps(s.server.tool, one.settings) for one in s.points}
    return benchmarking.files(s) | {POINTS: json.dumps(points, indent=2) + "\n"}


def _scripts(s: Benchmark, environment: str) -> dict[str, str]:
    """Return what runs that sweep."""
    given = s.server.key_variable
    told = f'export VLLM_API_KEY="${{{given}:?is not set}}" OPENAI_API_KEY="${given}"\n' if given else ""
    place = f"--host 127.0.0.1 --port {PORT}"
    sweep = (
        "#!/usr/bin/env bash\n"
        "# The same measurements by vLLM's own sweep, which repeats each three times, and chooses nothing. Run it from the folder that\n"
        "# the recipe's paths start at, after the run; it goes on where it was stopped by: bash sweep.sh --resume\n"
        f"{serving.HERE}{serving.inside(environment)}{told}"
        f"exec vllm bench sweep serve --serve-cmd \"vllm serve --config '$here/../{s.server.stage}/vllm.yaml' {place}\" \\\n"
        f'    --bench-cmd "vllm bench serve --model {shlex.quote(s.server.model)} {place}" \\\n'
        f'    --serve-params "$here/{POINTS}" --bench-params "$here/{LOADS}" \\\n'
        f'    --server-ready-timeout {serving.PATIENCE} --continue-on-error -o {shlex.quote(s.output)} -e sweep "$@"\n'
    )
    return {SWEEP: sweep}


def _sweeps(server: str, settings: dict[str, Any]) -> dict[str, Any]:
    """Return settings as vLLM's sweep reads them: options without dashes."""
    names = system(server).varies
    return {
        names[word].removeprefix("--").replace("-", "_"): value for word, value in settings.items() if word in names
    }


CHECKS: tuple[Check, ...] = (
    *benchmarking.CHECKS,
    refuses(
        "tool",
        "server.tool",
        when=lambda _tool, server: bool(system(server).full_answers),
        message=lambda _tool, server: f"{server} does not understand what vllm bench asks",
        advice="use tool: guidellm",
    ),
)
SYSTEM = System(
    TOOL,
    kinds=frozenset(["benchmark"]),
    sheets=_sheets,
    needs=lambda _s: Need(ENVIRONMENT),
    job=benchmarking.job,
    files=_files,
    scripts=_scripts,
    checks=lambda _s: CHECKS,
    uses=benchmarking.uses,
    package=PACKAGE,
    on_cpu=OnCpu(
        (
            on_cpu.Instead(
                "benchmark.tool",
                "guidellm",
                "vLLM needs a GPU; GuideLLM asks the server that stands in",
                untried="vllm bench",
            ),
        )
    ),
)
