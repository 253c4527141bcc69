"""Facts about the world, each row with its source: data, no code beyond reading it."""

from functools import cache, lru_cache
from pathlib import Path
from typing import NamedTuple

from recipec.source import Mapping, Source, plain
from recipec.yaml_reader import read_text

FOLDER = Path(__file__).parent
ADDED = (
    "flash-attn",
    "liger",
    "mlflow",
    "ray",
    "ring-flash-attn",
    "ringmaster",
    "schedulefree",
    "trackio",
)  # pins that other environments add to theirs, in the order of names


class Gpu(NamedTuple):
    """One GPU model; `none` stands for training on CPU."""

    name: str
    memory_gib: int
    sm: int
    bf16: bool
    bf16_tflops: int
    source: str


@cache
def gpus() -> dict[str, Gpu]:
    """Return the known GPUs by id."""
    tree = read_text(Source("hardware.yaml", (FOLDER / "hardware.yaml").read_text(encoding="utf-8")))
    assert isinstance(tree, Mapping)
    rows = plain(tree)
    assert isinstance(rows, dict)
    return {name: Gpu(name, **row) for name, row in rows.items()}  # type: ignore[arg-type]  # a test types each row


@cache
def releases(tool: str) -> tuple[str, ...]:
    """Return the releases of a tool that there are exact pins of, the newest first; the first is the default."""
    begin, end = f"{tool}-", ".txt"
    names = [path.name for path in (FOLDER / "environments").iterdir()]
    found = [name[len(begin) : -len(end)] for name in names if name.startswith(begin) and name.endswith(end)]
    return tuple(sorted((r for r in found if "-" not in r), key=version, reverse=True))


@lru_cache(maxsize=256)
def version(release: str) -> tuple[int, ...]:
    """Return a release as numbers that compare in the right order."""
    return tuple(int("".join(c for c in part if c.isdigit()) or 0) for part in release.split("."))


def is_between(release: str, since: str, until: str) -> bool:
    """Return whether a release is one from `since` on and before `until`, where these are given."""
    after = not since or version(release) >= version(since)
    return after and (not until or version(release) < version(until))


@cache
def has_pins(environment: str) -> bool:
    """Return whether there are exact pins of an environment."""
    try:
        pins(environment)
    except OSError:
        return False
    return True


@cache
def pins(environment: str) -> str:
    """Return the exact pins of an environment; one of a name that ends with those of ADDED has theirs besides. Raises OSError."""
    names: list[str] = []
    for added in reversed(ADDED):
        if environment.endswith(f"-{added}"):
            environment = environment.removesuffix(f"-{added}")
            names.insert(0, added)
    names.insert(0, environment)
    return "".join((FOLDER / "environments" / f"{name}.txt").read_text(encoding="utf-8") for name in names)


def pinned(environment: str, package: str) -> str:
    """Return the release of a package in an environment. Raises LookupError when it is not in there."""
    text = pins(environment)
    start = f"\n{package}=="
    if start not in text:
        raise LookupError(f"{environment} has no {package}")
    return text.partition(start)[2].partition("\n")[0].split()[0]
