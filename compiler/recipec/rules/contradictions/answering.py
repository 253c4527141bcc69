"""Contradictions about what is asked of a server: by whom, how long, and how much at once."""

from __future__ import annotations

from collections.abc import Iterator

from recipec.facts.schemes import schemes
from recipec.kinds import fit
from recipec.kinds.evaluate import Evaluate, compares
from recipec.kinds.serve import Serve
from recipec.rules.evaluation import own, single
from recipec.rules.rule import Context, Fault, contradiction
from recipec.systems.registry import system
from recipec.systems.serving import EVERY

MANY = 128  # requests at once up to which weights in 4 bits alone speed them up (Frantar et al., arXiv:2408.11743)


@contradiction(
    "P288", "steps-that-hold-no-token-of-each", "serve", words=("serve.max_batched_tokens", "serve.max_requests")
)
def batched(_see: Context, s: Serve) -> Iterator[Fault]:
    """Finds fewer tokens in a step than requests at once.

    Why is this bad:
    Each request that is answered has a token in every step. vLLM refuses to start.

    Example:
        stages:
          - {name: sft, adapter: {rank: 16}}
          - {name: served, serve: {max_requests: 64, max_batched_tokens: 32}}

    Use instead:
        stages:
          - {name: sft, adapter: {rank: 16}}
          - {name: served, serve: {max_requests: 64, max_batched_tokens: 2048}}
    """
    if few := fit.batched(None, s):
        yield Fault("serve.max_batched_tokens", few, f"use at least {s.max_requests}, and more to read prompts")


@contradiction(
    "P282", "open-to-all", "serve", words=("serve.host", "serve.key_variable"), severity="warning", waivable=True
)
def open_to_all(_see: Context, s: Serve) -> Iterator[Fault]:
    """Finds a server that listens on every address and asks for no key.

    Why is this bad:
    Whoever reaches the machine can use its GPUs, and read what the model was trained to say.

    Example:
        stages:
          - {name: sft}
          - {name: served, serve: {host: 0.0.0.0}}

    Use instead:
        stages:
          - {name: sft}
          - {name: served, serve: {host: 0.0.0.0, key_variable: SERVED_KEY}}

    When it is meant:
    Something in front of it asks for a key, or nobody else reaches the machine.
    """
    if s.host in EVERY and s.key_variable is None:
        yield Fault(
            "serve.host",
            f"{s.host} is every address, and no key is asked for",
            "set key_variable, or listen on 127.0.0.1",
        )


@contradiction(
    "P283", "server-of-scores", "serve", "quantize", words=("start_from", "serve", "quantize", "train.method")
)
def of_scores(see: Context, _s: object) -> Iterator[Fault]:
    """Finds a server for a reward model, which writes no answers, or one that is quantised to be served.

    Why is this bad:
    It has a head that scores whole answers in the place of one that writes them: the check can be answered by nothing.

    Example:
        stages:
          - {name: judge, train: {method: reward}, data: {train: [{path: data/pairs.jsonl, format: preference}]}, adapter: {rank: 8}}
          - {name: served, serve: {}}

    Use instead:
        stages:
          - {name: sft}
          - {name: served, serve: {}}
    """
    heads = [getattr(one.output, "head", "") for one in see.stage.inputs] if see.stage is not None else []
    if "score" in heads:
        yield Fault("start_from", "a reward model writes no answers", "serve a model that writes")


@contradiction(
    "P284",
    "bound-that-the-server-lacks",
    "serve",
    words=("serve.max_length", "serve.tool"),
    severity="warning",
    waivable=True,
)
def no_bound(see: Context, s: Serve) -> Iterator[Fault]:
    """Finds a bound on the length of requests for a server that has none.

    Why is this bad:
    Longer requests are taken, up to what the model was made for.

    Example:
        hardware: {gpu: none}
        stages:
          - {name: sft}
          - {name: served, serve: {max_length: 1024}}

    Use instead:
        hardware: {gpu: none}
        stages:
          - {name: sft}
          - {name: served, serve: {}}

    When it is meant:
    The same recipe is served on a GPU, by a server that has it.
    """
    if see.said.wrote("serve.max_length") and not system(s.tool).joint_length:
        yield Fault(
            "serve.max_length", f"{s.tool} has no bound on the length of requests", "drop it, or serve on a GPU"
        )


@contradiction(
    "P286",
    "bits-that-do-not-help-the-load",
    "serve",
    words=("serve.max_requests", "start_from", "quantize"),
    severity="warning",
    waivable=True,
)
def not_for_many(_see: Context, s: Serve) -> Iterator[Fault]:
    """Finds a server for many requests at once of a model whose weights alone are in fewer bits.

    Why is this bad:
    With few requests, reading the weights takes the time, and fewer bits are read sooner. With many, computing takes it, and these are
    turned into 16 bits for it: what is gained shrinks with the requests, up to some 128 (Frantar et al., arXiv:2408.11743). What is
    computed in 8 bits gains there (Kurtic et al., arXiv:2411.02355).

    Example:
        hardware: {gpu: h100-80gb}
        stages:
          - {name: sft, adapter: {rank: 16}}
          - {name: small, quantize: {scheme: w4a16}}
          - {name: served, serve: {max_requests: 256}}

    Use instead:
        hardware: {gpu: h100-80gb}
        stages:
          - {name: sft, adapter: {rank: 16}}
          - {name: small, quantize: {scheme: fp8}}
          - {name: served, serve: {max_requests: 256}}

    When it is meant:
    Only memory counts, or so many requests come together seldom.
    """
    scheme = schemes().get(s.scheme or "")
    if scheme is None or scheme.activations < 16 or s.max_requests is None or s.max_requests <= MANY:
        return
    sm = s.hardware.sm
    better = "fp8" if sm >= schemes()["fp8"].full else "w8a8"
    message = f"{s.scheme} gains little with {s.max_requests} requests at once: it is computed in 16 bits"
    yield Fault("serve.max_requests", message, f"quantise it to {better}, or serve fewer at once on each copy")


@contradiction("P332", "choices-that-a-server-cannot-weigh", "evaluate", words=("evaluate.tasks", "evaluate.models", "start_from", "serve.tool"))  # fmt: skip
def no_likelihoods(see: Context, s: Evaluate) -> Iterator[Fault]:
    """Finds tasks that compare how likely given answers are, asked of a server that only writes.

    Why is this bad:
    lm-eval asks for the likelihood of each answer, gets none, and ends, after the server has loaded the model.

    Example:
        hardware: {gpu: none}
        stages:
          - {name: sft}
          - {name: served, serve: {}}
        evaluate: {tasks: [hellaswag], models: [served]}

    Use instead:
        hardware: {gpu: none}
        stages:
          - {name: sft}
          - {name: served, serve: {}}
        evaluate: {tasks: [gsm8k], models: [served]}
    """
    if s.server is None or s.server.likelihoods:
        return
    local = own(s.task_folder) if s.task_folder is not None and see.folders else set[str]()
    for index, name in single(s):
        if compares(name) and local is not None and name not in local:
            message = f"{name} compares the likelihoods of answers, which {s.server.tool} does not tell"
            yield Fault(f"evaluate.tasks[{index}]", message, "evaluate the weights, not the server, or serve it by vllm_serve")  # fmt: skip


RULES = (batched, open_to_all, of_scores, no_bound, not_for_many, no_likelihoods)
