"""What keeps a server from starting: each as a message, empty where nothing does or it is not known.

Rules say it of a server, with the place of the word to blame; a benchmark leaves out the settings of which it holds.
"""

from __future__ import annotations

from collections.abc import Callable

from recipec.facts.models import KnownModel, unfit
from recipec.kinds import serve
from recipec.kinds.evaluate import held
from recipec.kinds.serve import Serve, uneven
from recipec.plural import counted

GIB = 1024**3
CACHE_FP8 = 80  # compute capability × 10 (vLLM 0.33: v1/attention/backends/flashinfer.py, triton_attn.py)


def gpus(_known: KnownModel | None, s: Serve) -> str:
    """Return that a server takes more GPUs than a node has."""
    wanted = serve.gpus(s)
    if s.hardware.device == "cpu" or wanted <= s.hardware.per_node:
        return ""
    said = " × ".join(
        f"{word} {getattr(s, word)}" for word in ("tensor_parallel", "pipeline_parallel", "data_parallel")
    )
    return f"{said} = {wanted} GPUs, and a node has {s.hardware.per_node}"


def heads(known: KnownModel | None, s: Serve) -> str:
    """Return which heads cannot be split."""
    return unfit(known, s.tensor_parallel, copies=True) if s.hardware.device == "gpu" else ""


def groups(known: KnownModel | None, s: Serve) -> str:
    """Return which weights are no whole groups on each GPU, where the heads can be split."""
    odd = uneven(known, s.tensor_parallel, s.group) if s.hardware.device == "gpu" and not heads(known, s) else ""
    return f"{odd} over {s.tensor_parallel} GPUs is not made of whole groups of {s.group} weights" if odd else ""


def layers(known: KnownModel | None, s: Serve) -> str:
    """Return that there are more groups of GPUs than layers."""
    if known is None or known.layers is None or s.pipeline_parallel <= known.layers or s.hardware.device == "cpu":
        return ""
    return f"{known.id} has {counted(known.layers, 'layer')}, which {s.pipeline_parallel} groups of GPUs cannot share"


def context(known: KnownModel | None, s: Serve) -> str:
    """Return that requests may be longer than what a model was made for."""
    if known is None or known.context is None or s.max_length <= known.context:
        return ""
    return f"{known.id} was made for {known.context:,} tokens, and {s.max_length:,} are to be served"


def weights(known: KnownModel | None, s: Serve) -> str:
    """Return that weights do not fit the GPUs of one copy."""
    size = held(known, s.precision, s.scheme)
    if s.hardware.device == "cpu" or size <= _room(s):
        return ""
    many = counted(s.tensor_parallel * s.pipeline_parallel, "GPU")
    share = f"{s.gpu_memory_share:.0%} of {many} of {s.hardware.gpu}"
    return f"{size / GIB:.0f} GiB of weights are more than {share} hold"


def cache(known: KnownModel | None, s: Serve) -> str:
    """Return that the cache of one request of full length does not fit beside the weights."""
    size, more = held(known, s.precision, s.scheme), _cached(known, s)
    if s.hardware.device == "cpu" or not size or weights(known, s) or size + more <= _room(s):
        return ""
    return (
        f"{size / GIB:.0f} GiB of weights leave no room for the {more / GIB:.1f} GiB that one request of {s.max_length:,}"
        " tokens caches"
    )


def batched(_known: KnownModel | None, s: Serve) -> str:
    """Return that a step holds fewer tokens than there are requests at once."""
    if s.max_batched_tokens is None or s.max_requests is None or s.max_batched_tokens >= s.max_requests:
        return ""
    return f"{s.max_batched_tokens} tokens in a step are fewer than {s.max_requests} requests at once"


def cache_format(_known: KnownModel | None, s: Serve) -> str:
    """Return that no attention reads the cache's format on a GPU."""
    if s.hardware.device == "cpu" or s.kv_cache != "fp8" or s.hardware.sm >= CACHE_FP8:
        return ""
    return f"vLLM has no attention for a cache in fp8 on {s.hardware.gpu}"


EVERY: tuple[Callable[[KnownModel | None, Serve], str], ...] = (
    gpus,
    heads,
    groups,
    layers,
    context,
    weights,
    cache,
    batched,
    cache_format,
)


def why_not(known: KnownModel | None, s: Serve) -> str:
    """Return the first of what keeps a server from starting."""
    return next((said for one in EVERY if (said := one(known, s))), "")


def _room(s: Serve) -> float:
    """Return the bytes that the GPUs of one copy have for weights and cache."""
    return s.gpu_memory_share * s.hardware.memory_gib * GIB * s.tensor_parallel * s.pipeline_parallel


def _cached(known: KnownModel | None, s: Serve) -> float:
    """Return the bytes that one request of full length caches: keys and values of every layer; 0 where it is not known."""
    if known is None or None in (known.layers, known.kv_heads, known.head_size):
        return 0.0
    each = 1 if s.kv_cache == "fp8" else 2
    return float(2 * (known.layers or 0) * (known.kv_heads or 0) * (known.head_size or 0) * each * s.max_length)
