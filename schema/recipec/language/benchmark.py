"""`benchmark`: how fast a server answers, by the settings that it is started with."""

from typing import Annotated, Literal

from pydantic import Field

from recipec.language.base import Count, Section, StageName, example
from recipec.language.serve import Gpus

Tokens = Annotated[int, Field(ge=1, le=10_000_000)]
Share = Annotated[float, Field(gt=0, lt=1)]
Many = Annotated[int, Field(ge=1, le=65_536)]
Rate = Annotated[float, Field(gt=0, le=100_000)]
Milliseconds = Annotated[float, Field(gt=0, le=10_000_000)]


class Workload(Section):
    """Requests of one kind: prompts and answers of so many tokens, made up, each answer written to its last token."""

    model_config = example({"name": "chat", "input": 1024, "output": 256, "concurrency": [1, 8, 32]})

    name: StageName = Field(description="Name of it in the results, such as chat.")
    input: Tokens = Field(description="Tokens of each prompt.")
    output: Tokens = Field(description="Tokens of each answer.")
    shared_prefix: Tokens | None = Field(
        default=None,
        description="Tokens before those, the same in every prompt, as a system prompt is. Default: none.",
    )
    concurrency: list[Many] | None = Field(
        default=None,
        min_length=1,
        description="Requests at once, each number measured by itself. Default: 1, 8 and 32, unless there are rates.",
    )
    rate: list[Rate] | None = Field(
        default=None,
        min_length=1,
        description="Requests that arrive in a second, at random times, each number measured by itself, however many are answered.",
    )


class Grid(Section):
    """Values of words of `serve`: the server is measured with every combination of them."""

    model_config = example({"max_requests": [64, 256], "max_batched_tokens": [2048, 8192]})

    max_length: list[Count] | None = Field(default=None, min_length=1, description="Values of serve.max_length.")
    max_requests: list[Count] | None = Field(default=None, min_length=1, description="Values of serve.max_requests.")
    max_batched_tokens: list[Count] | None = Field(
        default=None, min_length=1, description="Values of serve.max_batched_tokens."
    )
    gpu_memory_share: list[Share] | None = Field(
        default=None, min_length=1, description="Values of serve.gpu_memory_share."
    )
    tensor_parallel: list[Gpus] | None = Field(
        default=None, min_length=1, description="Values of serve.tensor_parallel."
    )
    pipeline_parallel: list[Gpus] | None = Field(
        default=None, min_length=1, description="Values of serve.pipeline_parallel."
    )
    data_parallel: list[Gpus] | None = Field(default=None, min_length=1, description="Values of serve.data_parallel.")
    expert_parallel: list[bool] | None = Field(
        default=None, min_length=1, description="Values of serve.expert_parallel."
    )
    prefix_caching: list[bool] | None = Field(default=None, min_length=1, description="Values of serve.prefix_caching.")
    kv_cache: list[Literal["auto", "fp8"]] | None = Field(
        default=None, min_length=1, description="Values of serve.kv_cache."
    )


class Point(Section):
    """Words of `serve` that are measured together."""

    model_config = example({"max_requests": 256, "kv_cache": "fp8"})

    max_length: Count | None = Field(default=None, description="Instead of serve.max_length.")
    max_requests: Count | None = Field(default=None, description="Instead of serve.max_requests.")
    max_batched_tokens: Count | None = Field(default=None, description="Instead of serve.max_batched_tokens.")
    gpu_memory_share: Share | None = Field(default=None, description="Instead of serve.gpu_memory_share.")
    tensor_parallel: Gpus | None = Field(default=None, description="Instead of serve.tensor_parallel.")
    pipeline_parallel: Gpus | None = Field(default=None, description="Instead of serve.pipeline_parallel.")
    data_parallel: Gpus | None = Field(default=None, description="Instead of serve.data_parallel.")
    expert_parallel: bool | None = Field(default=None, description="Instead of serve.expert_parallel.")
    prefix_caching: bool | None = Field(default=None, description="Instead of serve.prefix_caching.")
    kv_cache: Literal["auto", "fp8"] | None = Field(default=None, description="Instead of serve.kv_cache.")


class Objective(Section):
    """What users wait for at most. Settings that do not hold it are not chosen, however much they answer."""

    model_config = example({"first_token_ms": 500, "between_tokens_ms": 50, "percentile": 99})

    first_token_ms: Milliseconds | None = Field(
        default=None, description="Milliseconds from a request to the first token of its answer."
    )
    between_tokens_ms: Milliseconds | None = Field(
        default=None,
        description="Milliseconds from one token of an answer to the next, on average over the answer after its first token.",
    )
    percentile: Literal[50, 90, 95, 99] = Field(
        default=99, description="Share of the requests, in percent, that must not wait longer."
    )


class Benchmark(Section):
    """Measures the server of start_from: started with each of some settings, asked by each workload, and stopped."""

    model_config = example(
        {
            "workloads": [{"name": "chat", "input": 1024, "output": 256, "concurrency": [1, 8, 32]}],
            "grid": {"max_requests": [64, 256], "max_batched_tokens": [2048, 8192]},
            "slo": {"first_token_ms": 500, "between_tokens_ms": 50},
        }
    )

    tool: Literal["vllm_bench", "guidellm"] | None = Field(
        default=None,
        description="What asks, and takes the time. Default: vllm_bench (`vllm bench serve`) of vLLM's server, else guidellm.",
    )
    workloads: list[Workload] = Field(min_length=1, description="What is asked.")
    grid: Grid | None = Field(
        default=None, description="Settings, in every combination. The server is measured as it is, too."
    )
    points: list[Point] | None = Field(
        default=None, min_length=1, description="Settings beside those of the grid, each as it is written."
    )
    requests: Count | None = Field(
        default=None,
        description="Requests of each measurement. Default: ten for each at once, those of a minute of a rate, and 100 at least.",
    )
    warmup: Annotated[int, Field(ge=0, le=10_000)] | None = Field(
        default=None,
        description="Requests before each measurement that do not count. Default: as many as are at once, and 8 of a rate.",
    )
    slo: Objective | None = Field(
        default=None, description="What must hold. Default: nothing, and the most tokens in a second are best."
    )
