"""Contradictions about servers: what is served, by how many GPUs, and to whom."""

from __future__ import annotations

from collections.abc import Iterator

from recipec.decide.said import indexed
from recipec.facts.models import fitting
from recipec.kinds import fit
from recipec.kinds.serve import SHARE, Serve, shared
from recipec.rules.contradictions.stacking import unfit
from recipec.rules.rule import Context, Fault, contradiction
from recipec.systems.registry import doing, system

SPLIT = ("serve.tensor_parallel", "serve.pipeline_parallel", "serve.data_parallel", "hardware.per_node")
OWN_MODEL = ("draft_model", "eagle3")  # what proposes tokens by a model of its own
USERS = ("evaluate.judge", "benchmark")  # what is given a server where nobody wrote one


def blamed(see: Context, word: str) -> str:
    """Return the word of a server that is to blame; what needs the server, where nobody wrote one."""
    if see.said.wrote("serve"):
        return word
    return next((one for one in USERS if see.said.wrote(one)), word)


def needed(see: Context, s: Serve) -> str:
    """Return what a message begins with where nobody wrote the server."""
    return "" if see.said.wrote("serve") else f"a server of {s.name} is needed, and "


@contradiction("P276", "server-without-a-gpu", "serve", words=("serve.tool", "hardware.gpu"))
def no_gpu(_see: Context, s: Serve) -> Iterator[Fault]:
    """Finds a server that needs a GPU, on a CPU.

    Why is this bad:
    It ends when it starts, after all the stages before it.

    Example:
        hardware: {gpu: none}
        stages:
          - {name: sft}
          - {name: served, serve: {tool: vllm_serve}}

    Use instead:
        hardware: {gpu: none}
        stages:
          - {name: sft}
          - {name: served, serve: {tool: transformers_serve}}
    """
    if s.hardware.device == "cpu" and system(s.tool).needs_gpu:
        other = [name for name in doing("serve") if not system(name).needs_gpu]
        yield Fault("serve.tool", f"{s.tool} serves on GPUs alone", f"use tool: {other[0]}, or declare a GPU")


@contradiction("P277", "layers-that-cannot-be-served-so", "serve", words=(*SPLIT, "model.base", "start_from"))
def split(see: Context, s: Serve) -> Iterator[Fault]:
    """Finds a server that takes more GPUs than there are, or that splits what cannot be split.

    Why is this bad:
    vLLM ends when it starts: heads are split whole, and each group of GPUs needs a layer.

    Example:
        model: {base: Qwen/Qwen2.5-7B-Instruct}
        hardware: {gpu: h100-80gb, per_node: 8}
        stages:
          - {name: sft, adapter: {rank: 16}}
          - {name: served, serve: {tensor_parallel: 8}}

    Use instead:
        model: {base: Qwen/Qwen2.5-7B-Instruct}
        hardware: {gpu: h100-80gb, per_node: 8}
        stages:
          - {name: sft, adapter: {rank: 16}}
          - {name: served, serve: {tensor_parallel: 4}}
    """
    known = see.model(s.path)
    if many := fit.gpus(known, s):
        place = next((word for word in SPLIT if see.said.wrote(word)), "hardware.per_node")
        yield Fault(place, many, "make the three fit, or declare more GPUs")
    if why := fit.heads(known, s):
        yield Fault("serve.tensor_parallel", why, f"use {fitting(known, s.tensor_parallel, copies=True)}")
    if odd := fit.groups(known, s):
        able = shared(known, s.tensor_parallel, s.group)
        yield Fault("serve.tensor_parallel", odd, f"use {able}, or quantise with smaller groups")
    if known is not None and (few := fit.layers(known, s)):
        yield Fault("serve.pipeline_parallel", few, f"use at most {known.layers}")


@contradiction(
    "P278", "requests-beyond-the-context", "serve", words=("serve.max_length", "model.max_length", "start_from")
)
def context(see: Context, s: Serve) -> Iterator[Fault]:
    """Finds a server for longer requests than the model was made for.

    Why is this bad:
    vLLM refuses to start: positions beyond those give answers of no use.

    Example:
        model: {base: Qwen/Qwen2.5-7B-Instruct, max_length: 4096}
        stages:
          - {name: sft, adapter: {rank: 16}}
          - {name: served, serve: {max_length: 1000000}}

    Use instead:
        model: {base: Qwen/Qwen2.5-7B-Instruct, max_length: 4096}
        stages:
          - {name: sft, adapter: {rank: 16}}
          - {name: served, serve: {max_length: 32768}}
    """
    known = see.model(s.path)
    if known is not None and (message := fit.context(known, s)):
        place = "serve.max_length" if see.said.wrote("serve.max_length") else "model.max_length"
        yield Fault(place, message, f"use at most {known.context}")


@contradiction("P279", "server-beyond-its-memory", "serve", words=(*SPLIT, "serve.gpu_memory_share", "serve.max_length", "model.base", "start_from"))  # fmt: skip
def memory(see: Context, s: Serve) -> Iterator[Fault]:
    """Finds a server whose weights, with the cache of one request of full length, do not fit its GPUs.

    Why is this bad:
    vLLM loads the weights, counts the tokens that its cache could hold, and ends where one request does not fit.

    Example:
        model: {base: meta-llama/Llama-3.1-70B-Instruct, max_length: 4096}
        hardware: {gpu: a100-80gb, per_node: 8}
        stages:
          - {name: sft, adapter: {rank: 16}, model: {load_in: nf4}}
          - {name: served, serve: {tensor_parallel: 1}}

    Use instead:
        model: {base: meta-llama/Llama-3.1-70B-Instruct, max_length: 4096}
        hardware: {gpu: a100-80gb, per_node: 8}
        stages:
          - {name: sft, adapter: {rank: 16}, model: {load_in: nf4}}
          - {name: served, serve: {tensor_parallel: 4}}
    """
    known = see.model(s.path)
    place = next((word for word in SPLIT if see.said.wrote(word)), "hardware.gpu")
    share = "serve.gpu_memory_share"
    usual = s.replaced(gpu_memory_share=SHARE)
    large, full = fit.weights(known, s), fit.cache(known, s)
    if see.said.wrote(share) and not (fit.weights(known, usual) or fit.cache(known, usual)):
        place = share
    if large:
        yield Fault(blamed(see, place), needed(see, s) + large, "split it over more GPUs, or quantise it first")
    if full:
        place = "serve.max_length" if place != share and see.said.wrote("serve.max_length") else place
        yield Fault(
            blamed(see, place),
            needed(see, s) + full,
            "serve shorter requests, split it over more GPUs, or quantise it first",
        )


@contradiction("P280", "adapters-that-cannot-be-served", "part", words=("serve.adapters", "start_from", "stages"))
def adapters(see: Context, _recipe: object) -> Iterator[Fault]:
    """Finds adapters to be served that are none, or that stand over another base.

    Why is this bad:
    A server holds one base, and adds each adapter to it. Of another base, the answers are of no use.

    Example:
        stages:
          - {name: sft}
          - {name: more, start_from: base, adapter: {rank: 8}}
          - {name: served, start_from: sft, serve: {adapters: [more]}}

    Use instead:
        stages:
          - {name: sft, adapter: {rank: 8}}
          - {name: more, start_from: base, adapter: {rank: 8}}
          - {name: served, start_from: sft, serve: {adapters: [more]}}
    """
    part, graph = see.said.part, see.graph
    given = part.serve.adapters if part.serve is not None else []
    stage = next((one for one in see.plan.stages if one.name == part.name and one.kind == "serve"), None)
    if not given or stage is None:
        return
    body: Serve = stage.body
    before = graph.listed[: graph.listed.index(part.name)]
    for index, name in enumerate(given):
        place, one = indexed("serve.adapters", index), graph.models.get(name)
        if name in (body.name, body.replaces, *given[:index]):
            yield Fault(place, f"{name} is served by this name already", "drop it, or choose another serve.name")
        elif one is None or name not in before:
            message = f"{name} is not a stage before this one that leaves a model"
            yield Fault(place, message, "name stages that leave an adapter")
        elif not system(body.tool).serves_adapters:
            yield Fault(place, f"{body.tool} serves no adapters", "drop adapters, or serve on a GPU")
        elif one.model.adapter is None:
            message = f"{name} leaves no adapter: it has none, or adapter.merge merges it"
            yield Fault(place, message, "name stages that leave one, or serve it by a stage of its own")
        elif one.model.path != body.path:
            message = f"the adapter of {name} stands over {one.model.path}, and {body.path} is served: from another base or from_scratch"
            yield Fault(place, message, "serve it by a stage of its own")


@contradiction("P285", "adapter-that-no-server-adds", "serve", words=("serve.adapters", "start_from", "adapter"))
def odd_adapters(see: Context, s: Serve) -> Iterator[Fault]:
    """Finds an adapter that is to be served over its base, and has more than LoRA's pairs of matrices.

    Why is this bad:
    vLLM ends when it loads DoRA, modules that were trained in full, and new tokens' embeddings; of an adapter that took a part of the base's weights
    into itself, the answers would be others.

    Example:
        stages:
          - {name: sft, adapter: {rank: 16, dora: true}}
          - {name: served, serve: {}}

    Use instead:
        stages:
          - {name: sft, adapter: {rank: 16, dora: true}}
          - {name: merged, merge: sft}
          - {name: served, serve: {}}
    """
    trained = {stage.output: stage.body for stage in see.plan.of_kind("train")}
    for one in s.adapters:
        body = trained.get(one.path)
        if body is None or body.adapter is None or body.method == "reward":  # which writes no answers anyway
            continue
        found = unfit(see, body.adapter, body)
        if found is not None:
            message = f"the adapter of {one.name} cannot be served over its base: {found[1]} ({found[0]})"
            place = "start_from" if one.name == s.replaces else "serve.adapters"
            yield Fault(blamed(see, place), message, "merge it, and serve what a stage with merge leaves")


@contradiction(
    "P287", "adapters-of-unlike-templates", "serve", words=("serve.adapters", "start_from", "model.chat_template")
)
def unlike_templates(see: Context, s: Serve) -> Iterator[Fault]:
    """Finds adapters that are served side by side and were trained with different templates or tokens.

    Why is this bad:
    A server has one tokenizer and one template for all. The others are asked in a format that they were not trained on, and may never end.

    Example:
        stages:
          - {name: sft, adapter: {rank: 8}}
          - {name: more, start_from: base, adapter: {rank: 8}, model: {chat_template: alpaca}}
          - {name: served, start_from: sft, serve: {adapters: [more]}}

    Use instead:
        stages:
          - {name: sft, adapter: {rank: 8}}
          - {name: more, start_from: base, adapter: {rank: 8}}
          - {name: served, start_from: sft, serve: {adapters: [more]}}
    """
    trained = {stage.output: stage.body.model for stage in see.plan.of_kind("train")}
    models = [(one.name, trained[one.path]) for one in s.adapters if one.path in trained]
    for name, other in models[1:]:
        first = models[0][1]
        for word in ("chat_template", "chat_template_file", "special_tokens", "new_tokens"):
            if getattr(first, word) != getattr(other, word):
                message = (
                    f"{name} was trained with another model.{word} than {models[0][0]}, and a server has one for all"
                )
                yield Fault("serve.adapters", message, "serve it by a stage of its own, or train both alike")
                break


@contradiction("P289", "cache-that-the-gpu-lacks", "serve", words=("serve.kv_cache", "hardware.gpu"))
def cache_format(_see: Context, s: Serve) -> Iterator[Fault]:
    """Finds a cache in 8 bits on a GPU for which vLLM has no attention that reads it.

    Why is this bad:
    vLLM ends when it starts: FlashInfer reads it from compute capability 8.0 on, Triton from 8.9.

    Example:
        hardware: {gpu: t4}
        stages:
          - {name: sft, adapter: {rank: 16}}
          - {name: served, serve: {kv_cache: fp8}}

    Use instead:
        hardware: {gpu: t4}
        stages:
          - {name: sft, adapter: {rank: 16}}
          - {name: served, serve: {}}
    """
    if lacking := fit.cache_format(None, s):
        yield Fault("serve.kv_cache", lacking, "drop it, or use a GPU of compute capability 8.0 or more")


@contradiction("P281", "proposals-of-no-model", "serve", words=("serve.speculative",))
def proposals(_see: Context, s: Serve) -> Iterator[Fault]:
    """Finds speculative decoding without the model that proposes tokens, or with one that nothing asks.

    Why is this bad:
    vLLM ends when it starts, or takes another model than is meant.

    Example:
        stages:
          - {name: sft}
          - {name: served, serve: {speculative: {method: draft_model}}}

    Use instead:
        stages:
          - {name: sft}
          - {name: served, serve: {speculative: {method: draft_model, model: Qwen/Qwen2.5-0.5B-Instruct}}}
    """
    one = s.speculative
    if one is None:
        return
    if one.method in OWN_MODEL and one.model is None:
        yield Fault(
            "serve.speculative.method", f"{one.method} proposes tokens by a model of its own", "name it: model: …"
        )
    elif one.method not in OWN_MODEL and one.model is not None:
        yield Fault("serve.speculative.model", f"{one.method} asks no other model", "drop model")


RULES = (
    unlike_templates,
    cache_format,
    odd_adapters,
    no_gpu,
    split,
    context,
    memory,
    adapters,
    proposals,
)
