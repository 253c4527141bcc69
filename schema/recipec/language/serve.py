"""`serve`: a model that answers over HTTP, as OpenAI's API has it."""

from typing import Annotated, Literal

from pydantic import Field

from recipec.language.base import Count, Section, StageName, Text, example

Gpus = Annotated[int, Field(ge=1, le=64)]


class Speculative(Section):
    """Tokens that something cheap proposes, and the model checks several of at once: the same answers, sooner."""

    model_config = example({"method": "ngram", "tokens": 4})

    method: Literal["ngram", "draft_model", "eagle3", "mtp"] = Field(
        description="What proposes them: repetitions of the prompt, a small model, a trained head, or the model's own layers for it."
    )
    model: Text | None = Field(
        default=None,
        description="Folder or hub name of the small model or the head; required by draft_model and eagle3.",
    )
    tokens: Annotated[int, Field(ge=1, le=64)] = Field(default=4, description="Tokens that are proposed at a time.")


class Serve(Section):
    """A server for the model of start_from. A run starts it, asks one question, and stops it; `serve.sh` keeps it up."""

    model_config = example({"port": 8000, "max_requests": 64, "prefix_caching": True})

    tool: Literal["vllm_serve", "transformers_serve"] | None = Field(
        default=None,
        description="What serves. Default: vllm_serve; on a CPU transformers_serve, which stands in for it.",
    )
    name: Text | None = Field(
        default=None, description="Name by which requests ask for it. Default: that of the recipe."
    )
    host: Text = Field(
        default="127.0.0.1",
        pattern=r"^([A-Za-z0-9][A-Za-z0-9.-]*|[0-9A-Fa-f:]*:[0-9A-Fa-f:]*)$",
        description="Address that it listens on, without the port; 0.0.0.0 is every one.",
    )
    port: int = Field(default=8000, ge=1, le=65535, description="Port that it listens on.")
    key_variable: Text | None = Field(
        default=None,
        pattern=r"^[A-Z][A-Z0-9_]*$",
        description="Environment variable with the key that requests must send; its value is in no file.",
    )
    adapters: list[StageName] = Field(
        default=[],
        description="Further stages whose adapters, over the same base, are served beside it, each by its name.",
    )
    max_length: Count | None = Field(
        default=None, description="Tokens of a prompt and its answer together. Default: those of the model's training."
    )
    max_requests: Count | None = Field(
        default=None, description="Requests that are computed at once. Default: the tool's."
    )
    max_batched_tokens: Count | None = Field(
        default=None,
        description="Tokens of all requests in one step: fewer answer sooner, more read prompts faster. Default: the tool's.",
    )
    gpu_memory_share: float | None = Field(
        default=None, gt=0, lt=1, description="Share of each GPU's memory for weights and cache. Default: 0.9."
    )
    tensor_parallel: Gpus | None = Field(
        default=None,
        description="GPUs that each layer is split over. Default: as many as the machine has and the heads allow.",
    )
    pipeline_parallel: Gpus = Field(default=1, description="Groups of GPUs that the layers are divided among.")
    data_parallel: Gpus = Field(default=1, description="Copies of the model, which share the requests.")
    expert_parallel: bool = Field(default=False, description="Divide the experts of a model among the GPUs, whole.")
    prefix_caching: bool = Field(
        default=True, description="Keep what was computed of a prompt for others that begin alike."
    )
    kv_cache: Literal["auto", "fp8"] = Field(
        default="auto", description="Format of cached keys and values; fp8 holds twice as many tokens."
    )
    tool_parser: Text | None = Field(
        default=None,
        description="Reads calls of tools in answers, such as hermes or llama3_json; then requests may name tools.",
    )
    reasoning_parser: Text | None = Field(
        default=None, description="Takes what a model thinks out of its answer, such as qwen3 or deepseek_r1."
    )
    structured_outputs: Literal["auto", "xgrammar", "guidance", "outlines"] = Field(
        default="auto", description="What holds answers to a schema where a request gives one."
    )
    speculative: Speculative | None = Field(default=None, description="Propose tokens, and check several at once.")
    ask: Text = Field(default="Say hello.", description="What the check asks, in one turn.")
