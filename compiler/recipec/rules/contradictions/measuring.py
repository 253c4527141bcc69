"""Contradictions about measuring a server: what is asked, how often, and what must hold."""

from __future__ import annotations

from collections.abc import Iterator

from recipec.decide.said import indexed
from recipec.kinds import benchmark
from recipec.kinds.benchmark import Benchmark
from recipec.plural import counted
from recipec.rules.rule import Context, Fault, contradiction

SETTINGS = ("benchmark.grid", "benchmark.points")


@contradiction(
    "P340",
    "workload-longer-than-is-served",
    "benchmark",
    words=("benchmark.workloads", "serve.max_length", "model.max_length", "start_from"),
)
def too_long(see: Context, s: Benchmark) -> Iterator[Fault]:
    """Finds a workload whose prompts and answers together are longer than the server takes.

    Why is this bad:
    The server refuses each of its requests: there is nothing to measure.

    Example:
        model: {base: Qwen/Qwen2.5-7B-Instruct}
        hardware: {gpu: h100-80gb}
        stages:
          - {name: sft, adapter: {rank: 16}}
          - {name: served, serve: {max_length: 4096}}
          - {name: speed, benchmark: {workloads: [{name: papers, input: 4000, output: 200}]}}

    Use instead:
        model: {base: Qwen/Qwen2.5-7B-Instruct}
        hardware: {gpu: h100-80gb}
        stages:
          - {name: sft, adapter: {rank: 16}}
          - {name: served, serve: {max_length: 8192}}
          - {name: speed, benchmark: {workloads: [{name: papers, input: 4000, output: 200}]}}
    """
    given = see.said.part.benchmark
    for index, one in enumerate(given.workloads if given is not None else ()):
        if message := benchmark.too_long(s.max_length, one):
            place = f"{indexed('benchmark.workloads', index)}.input"
            yield Fault(place, message, "ask for less, or serve with a larger max_length")


@contradiction(
    "P341",
    "settings-that-do-not-start",
    "benchmark",
    words=(*SETTINGS, "serve", "hardware", "model.base", "start_from"),
    severity="warning",
    waivable=True,
)
def left_out(see: Context, s: Benchmark) -> Iterator[Fault]:
    """Finds settings with which the server would not start, or would not take the requests: they are left out.

    Why is this bad:
    Fewer settings are compared than are written. PLAN.md has all that are left out, and why.

    Example:
        model: {base: Qwen/Qwen2.5-7B-Instruct}
        hardware: {gpu: h100-80gb}
        stages:
          - {name: sft, adapter: {rank: 16}}
          - {name: served, serve: {max_length: 4096}}
          - name: speed
            benchmark:
              workloads: [{name: chat, input: 1024, output: 256}]
              grid: {max_requests: [64, 512], max_batched_tokens: [256, 8192]}

    Use instead:
        model: {base: Qwen/Qwen2.5-7B-Instruct}
        hardware: {gpu: h100-80gb}
        stages:
          - {name: sft, adapter: {rank: 16}}
          - {name: served, serve: {max_length: 4096}}
          - name: speed
            benchmark:
              workloads: [{name: chat, input: 1024, output: 256}]
              grid: {max_requests: [64, 512], max_batched_tokens: [2048, 8192]}

    When it is meant:
    Some corners of a grid are impossible, and the others are what you want.
    """
    if s.left_out and len(s.points) > 1:
        first = s.left_out[0]
        more = f", and {counted(len(s.left_out) - 1, 'other')}" if len(s.left_out) > 1 else ""
        message = f"{first.name} is left out: {first.why}{more}"
        yield Fault(_settings(see), message, "drop the values, or allow it")


@contradiction(
    "P342",
    "no-settings-left",
    "benchmark",
    words=(*SETTINGS, "serve", "hardware", "model.base", "start_from"),
)
def none_left(see: Context, s: Benchmark) -> Iterator[Fault]:
    """Finds settings of which the server would start with none.

    Why is this bad:
    There is nothing to compare.

    Example:
        model: {base: Qwen/Qwen2.5-7B-Instruct}
        hardware: {gpu: h100-80gb, per_node: 2}
        stages:
          - {name: sft, adapter: {rank: 16}}
          - {name: served, serve: {max_length: 4096, tensor_parallel: 1}}
          - name: speed
            benchmark:
              workloads: [{name: chat, input: 1024, output: 256}]
              grid: {tensor_parallel: [4]}

    Use instead:
        model: {base: Qwen/Qwen2.5-7B-Instruct}
        hardware: {gpu: h100-80gb, per_node: 2}
        stages:
          - {name: sft, adapter: {rank: 16}}
          - {name: served, serve: {max_length: 4096, tensor_parallel: 1}}
          - name: speed
            benchmark:
              workloads: [{name: chat, input: 1024, output: 256}]
              grid: {tensor_parallel: [2]}
    """
    if s.left_out and len(s.points) == 1:
        first = s.left_out[0]
        yield Fault(_settings(see), f"no settings are left: {first.name}: {first.why}", "choose others, or drop them")


def _settings(see: Context) -> str:
    return next((word for word in SETTINGS if see.said.wrote(word)), "benchmark")


@contradiction(
    "P343",
    "percentile-of-few-requests",
    "benchmark",
    words=("benchmark.requests", "benchmark.slo"),
    severity="warning",
    waivable=True,
)
def few(see: Context, s: Benchmark) -> Iterator[Fault]:
    """Finds a limit for so many of the requests that fewer than one of those that are sent may be slower.

    Why is this bad:
    The percentile is then that of the slowest request, which is another each time that it is measured.

    Example:
        model: {base: Qwen/Qwen2.5-7B-Instruct}
        hardware: {gpu: h100-80gb}
        stages:
          - {name: sft, adapter: {rank: 16}}
          - {name: served, serve: {max_length: 4096}}
          - name: speed
            benchmark:
              workloads: [{name: chat, input: 1024, output: 256}]
              requests: 50
              slo: {first_token_ms: 500}

    Use instead:
        model: {base: Qwen/Qwen2.5-7B-Instruct}
        hardware: {gpu: h100-80gb}
        stages:
          - {name: sft, adapter: {rank: 16}}
          - {name: served, serve: {max_length: 4096}}
          - name: speed
            benchmark:
              workloads: [{name: chat, input: 1024, output: 256}]
              requests: 50
              slo: {first_token_ms: 500, percentile: 95}

    When it is meant:
    A first look is enough.
    """
    if s.slo is None:
        return
    needed = -(-100 // (100 - s.slo.percentile))
    least = min(one.requests for one in s.loads)
    if least < needed:
        message = f"of {counted(least, 'request')}, {s.slo.percentile} % are all but the slowest"
        place = "benchmark.requests" if see.said.wrote("benchmark.requests") else "benchmark.slo"
        yield Fault(place, message, f"send at least {needed}, or say a lower percentile")


@contradiction("P344", "fewer-requests-than-at-once", "benchmark", words=("benchmark.requests", "benchmark.workloads"))
def never_at_once(_see: Context, s: Benchmark) -> Iterator[Fault]:
    """Finds fewer requests than are to be sent at once.

    Why is this bad:
    The server never has so many: what is measured is another load than the results say.

    Example:
        model: {base: Qwen/Qwen2.5-7B-Instruct}
        hardware: {gpu: h100-80gb}
        stages:
          - {name: sft, adapter: {rank: 16}}
          - {name: served, serve: {max_length: 4096}}
          - name: speed
            benchmark:
              workloads: [{name: chat, input: 1024, output: 256, concurrency: [256]}]
              requests: 100

    Use instead:
        model: {base: Qwen/Qwen2.5-7B-Instruct}
        hardware: {gpu: h100-80gb}
        stages:
          - {name: sft, adapter: {rank: 16}}
          - {name: served, serve: {max_length: 4096}}
          - name: speed
            benchmark:
              workloads: [{name: chat, input: 1024, output: 256, concurrency: [256]}]
              requests: 2560
    """
    for one in s.loads:
        if one.concurrency is not None and one.requests < one.concurrency:
            message = f"{counted(one.requests, 'request')} are never {one.concurrency} at once, as {one.name} says"
            yield Fault("benchmark.requests", message, f"send at least {one.concurrency}, and better ten times as many")


@contradiction("P345", "workloads-of-one-name", "benchmark", words=("benchmark.workloads",))
def one_name(see: Context, s: Benchmark) -> Iterator[Fault]:
    """Finds workloads that have one name, or a load that is measured twice.

    Why is this bad:
    Their results would lie in one file.

    Example:
        model: {base: Qwen/Qwen2.5-7B-Instruct}
        hardware: {gpu: h100-80gb}
        stages:
          - {name: sft, adapter: {rank: 16}}
          - {name: served, serve: {max_length: 4096}}
          - name: speed
            benchmark:
              workloads: [{name: chat, input: 1024, output: 256}, {name: chat, input: 2048, output: 64}]

    Use instead:
        model: {base: Qwen/Qwen2.5-7B-Instruct}
        hardware: {gpu: h100-80gb}
        stages:
          - {name: sft, adapter: {rank: 16}}
          - {name: served, serve: {max_length: 4096}}
          - name: speed
            benchmark:
              workloads: [{name: chat, input: 1024, output: 256}, {name: papers, input: 2048, output: 64}]
    """
    given = see.said.part.benchmark
    names = [one.name for one in given.workloads] if given is not None else []
    for index, name in enumerate(names):
        if name in names[:index]:
            place = f"{indexed('benchmark.workloads', index)}.name"
            yield Fault(place, f"two workloads are called {name}", "give each a name of its own")
            return
    loads = [one.name for one in s.loads]
    twice = next((name for at, name in enumerate(loads) if name in loads[:at]), None)
    if twice is not None:
        yield Fault("benchmark.workloads", f"{twice} is measured twice", "say each number once")


@contradiction("P346", "limits-of-nothing", "benchmark", words=("benchmark.slo", "benchmark.workloads"))
def no_limit(_see: Context, s: Benchmark) -> Iterator[Fault]:
    """Finds limits that say nothing, or that bound a time that no answer has.

    Why is this bad:
    Nothing is judged by them, or no settings can hold them: an answer of one token has no time between tokens.

    Example:
        model: {base: Qwen/Qwen2.5-7B-Instruct}
        hardware: {gpu: h100-80gb}
        stages:
          - {name: sft, adapter: {rank: 16}}
          - {name: served, serve: {max_length: 4096}}
          - {name: speed, benchmark: {workloads: [{name: chat, input: 1024, output: 256}], slo: {percentile: 95}}}

    Use instead:
        model: {base: Qwen/Qwen2.5-7B-Instruct}
        hardware: {gpu: h100-80gb}
        stages:
          - {name: sft, adapter: {rank: 16}}
          - {name: served, serve: {max_length: 4096}}
          - {name: speed, benchmark: {workloads: [{name: chat, input: 1024, output: 256}], slo: {percentile: 95, first_token_ms: 500}}}
    """
    if s.slo is None:
        return
    if s.slo.first_token_ms is None and s.slo.between_tokens_ms is None:
        yield Fault("benchmark.slo", "slo bounds nothing", "say first_token_ms, between_tokens_ms or both, or drop it")
    short = next((one.workload for one in s.loads if one.output == 1), None)
    if s.slo.between_tokens_ms is not None and short is not None:
        message = f"answers of {short} have one token, and no time between tokens"
        yield Fault("benchmark.slo.between_tokens_ms", message, "drop it, or ask for longer answers")


RULES = (too_long, left_out, none_left, few, never_at_once, one_name, no_limit)
