"""GPUs by the names that people and drivers have for them: `H100`, `4090`, `A100-SXM4-80GB`, `NVIDIA H100 80GB HBM3`, `A100:8`."""

import re
from functools import lru_cache
from typing import NamedTuple

from recipec.facts import FOLDER, Gpu, gpus
from recipec.source import Source, plain
from recipec.yaml_reader import read_text

# What drivers, shops and clouds add to a name, and what tells no two GPUs with the same memory apart.
ADDED = {
    "nvidia", "geforce", "tesla", "quadro", "gpu", "gpus", "graphics", "card", "sxm", "sxm2", "sxm3", "sxm4", "sxm5", "pcie",
    "hbm2", "hbm2e", "hbm3", "hbm3e", "gddr6", "gddr6x", "generation", "blackwell", "edition", "server", "workstation",
}  # fmt: skip


class Named(NamedTuple):
    """What a name says: the GPU, or those that it may be; and how many, where it says that (None: it does not)."""

    gpu: Gpu | None
    number: int | None
    choices: tuple[str, ...]


@lru_cache(maxsize=64)
def named(text: str) -> Named:
    """Return what a name says of a GPU. An id of `hardware.yaml` is only ever itself."""
    known = gpus()
    if text in known:
        return Named(known[text], None, ())
    name, count = _counted(text.strip().lower())
    if name in ("cpu", "none"):
        return Named(known["none"], count, ())
    words, memory = _words(name)
    found = [gpu for gpu in known.values() if gpu.sm and words and _same(words, memory, gpu)]
    return Named(found[0] if len(found) == 1 else None, count, tuple(gpu.name for gpu in found[1:] and found))


def _counted(name: str) -> tuple[str, int | None]:
    """Return a name without a number of GPUs behind it (`a100:8`, `a100 x8`) or before it (`8x a100`), and that number."""
    behind = re.fullmatch(r"(.*?)\s*[:x×*]\s*(\d{1,3})", name)
    before = re.fullmatch(r"(\d{1,3})\s*[x×*]\s*(.*)", name)
    if behind and re.search(r"[a-z]", behind[1]):
        return behind[1], int(behind[2])
    return (before[2], int(before[1])) if before else (name, None)


def _words(name: str) -> tuple[tuple[str, ...], int | None]:
    """Return the words that name a GPU, and its memory in GB where the name tells it."""
    memory = re.search(r"(?<![a-z0-9])(\d{1,3})\s*(?:gib|gb|g)(?![a-z0-9])", name)
    rest = name.replace(memory[0], " ") if memory else name
    parts = re.findall(r"[a-z]*\d+[a-z]?(?=ti\b)|[a-z0-9]+", re.sub(r"\b(rtx|gtx)(?=\d)", r"\1 ", rest))
    words = tuple(part for part in parts if part not in ADDED)
    return (("rtx", *words) if words and re.fullmatch(r"[2-5]0\d0", words[0]) else words), int(
        memory[1]
    ) if memory else None


def _same(words: tuple[str, ...], memory: int | None, gpu: Gpu) -> bool:
    own, held = _words(gpu.name)
    nominal = held or gpu.memory_gib
    near = memory is None or memory == held or (held is None and nominal <= memory <= nominal * 1.1 + 1)
    return near and (words == own or ("rtx", *words) == own)


def same_named(name: str) -> tuple[Gpu, ...]:
    """Return the known GPUs of a name: those of the memory that it tells, or of any where it tells none that is sold."""
    words, memory = _words(name.strip().lower())
    found = [gpu for gpu in gpus().values() if gpu.sm and words and _same(words, None, gpu)]
    return tuple([gpu for gpu in found if memory is not None and _same(words, memory, gpu)] or found)


def capability(name: str) -> int | None:
    """Return the compute capability × 10 of a GPU that is not among the known ones; None where it is not known either."""
    words, _ = _words(name.strip().lower())
    listed = plain(
        read_text(
            Source("compute_capabilities.yaml", (FOLDER / "compute_capabilities.yaml").read_text(encoding="utf-8"))
        )
    )
    rows = listed if isinstance(listed, dict) else {}
    found = [rows[one] for one in rows if _words(one)[0] in (words, ("rtx", *words), ("gtx", *words))]
    return found[0] if found and isinstance(found[0], int) else None


def declared(name: str, memory: str | float, compute_capability: float) -> Gpu:
    """Return a GPU that is known by what a recipe says of it; `memory` is a number of GiB, or a text such as `48GB`."""
    size = re.match(r"[0-9.]+", str(memory))
    sm = round(compute_capability * 10)
    return Gpu(name, int(float(size[0])) if size else 0, sm, sm >= 80, 0, "as the recipe declares it")
