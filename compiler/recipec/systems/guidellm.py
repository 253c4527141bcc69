"""GuideLLM 0.8: a scenario file for each measurement, which `guidellm run --config FILE` reads."""

from __future__ import annotations

from typing import Any

from recipec.facts import pinned
from recipec.kinds.benchmark import Benchmark, Slo
from recipec.systems import benchmarking
from recipec.systems.document import Sheet
from recipec.systems.registry import system
from recipec.systems.system import Need, System
from recipec.systems.table import OMIT, Row, constant, made, same, within

TOOL, ENVIRONMENT = "guidellm", "guidellm-0.8.1"
TARGET = "http://127.0.0.1:8000"  # which the script replaces by where the server is


def _load(name: str) -> str:
    return f"{name}.json"


def _body(server: str) -> dict[str, Any]:
    """Return what is laid over the body of each request: greedy, and to the last token."""
    return {"temperature": 0, **system(server).full_answers}


def _profile(concurrency: int | None, rate: float | None) -> tuple[Any, Any, Any]:
    """Return how requests arrive: so many at once, or at random times."""
    return ("concurrent", [concurrency], OMIT) if concurrency is not None else ("poisson", OMIT, [rate])


def _warmup(warmup: int) -> Any:
    return {"mode": "requests", "value": warmup} if warmup else OMIT


def _slo(slo: Slo | None) -> Any:
    if slo is None:
        return OMIT
    told = {"ttft_ms": slo.first_token_ms, "tpot_ms": slo.between_tokens_ms}
    return {word: value for word, value in told.items() if value is not None} or OMIT


def _data(input: int, output: int, shared_prefix: int) -> list[dict[str, Any]]:
    prefix = {"prefix_buckets": [{"prefix_tokens": shared_prefix}]} if shared_prefix else {}
    return [{"kind": "synthetic_text", "prompt_tokens": input, "output_tokens": output, **prefix}]


def _tokenizer(tokenizer: str, path: str, revision: str | None, trust: bool) -> dict[str, Any]:
    own: dict[str, Any] = {"revision": revision} if revision and tokenizer == path else {}
    own |= {"trust_remote_code": True} if trust else {}
    return {"kind": "huggingface_auto", "model": tokenizer, **({"load_kwargs": own} if own else {})}


def _rows(index: int) -> tuple[Row, ...]:
    at = f"loads.{index}"
    profile = Row(("kind", "streams", "rate"), (f"{at}.concurrency", f"{at}.rate"), _profile)
    return within(
        "spec",
        *within(
            "backend",
            constant("kind", "openai_http"),
            constant("target", TARGET),
            constant("request_format", "/v1/completions"),
            made("extras", lambda server: {"body": _body(server)}, "server.tool"),
        ),
        *within("profile", profile, made("warmup", _warmup, f"{at}.warmup")),
        made(
            "constraints",
            lambda requests, warmup: [{"kind": "max_requests", "count": requests + warmup}],
            f"{at}.requests",
            f"{at}.warmup",
        ),
        made("tokenizer", _tokenizer, "server.tokenizer", "path", "revision", "trust_remote_code"),
        made("data", _data, f"{at}.input", f"{at}.output", f"{at}.shared_prefix"),
        *within("seed", constant("kind", "static"), same("value", f"{at}.seed")),
        *within("metrics", constant("kind", "generative"), constant("sample_size", 0), made("slo", _slo, "slo")),
    )


def _sheets(s: Benchmark, environment: str) -> list[Sheet]:
    release = pinned(environment, TOOL)
    loads = [
        Sheet(_load(one.name), _rows(index), TOOL, release, "scenario", "json", raw_keys=False)
        for index, one in enumerate(s.loads)
    ]
    return [*loads, *benchmarking.sheets(TOOL, TOOL, release)]


SYSTEM = System(
    TOOL,
    kinds=frozenset(["benchmark"]),
    sheets=_sheets,
    needs=lambda _s: Need(ENVIRONMENT),
    job=benchmarking.job,
    files=benchmarking.files,
    checks=lambda _s: benchmarking.CHECKS,
    uses=benchmarking.uses,
    package=TOOL,
    lays_over=True,
)
