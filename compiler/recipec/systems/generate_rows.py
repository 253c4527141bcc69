"""Rows that a model writes, by Transformers: a script of ours that is copied as it is, and a settings file for it."""

from __future__ import annotations

from typing import Any

from recipec.facts import pinned
from recipec.job import Beside, Job
from recipec.kinds.generate import FILE, Generate
from recipec.kinds.train.records import DataSource, Reward
from recipec.systems import rewards
from recipec.systems.document import Sheet
from recipec.systems.programs import program
from recipec.systems.quantised import reading
from recipec.systems.system import Need, System
from recipec.systems.table import Row, constant, made, same

TOOL, SCRIPT, SETTINGS = "transformers", "generate_rows.py", "generate.json"


def _sources(sources: tuple[DataSource, ...]) -> list[dict[str, Any]]:
    words = ("path", "hub", "subset", "split", "revision", "columns", "roles", "system", "turns")
    return [{word: getattr(source, word) for word in words} for source in sources]


def _judges(given: tuple[Reward, ...]) -> list[dict[str, Any]]:
    """Return the rewards by weight: a function of `rewards.py`, or the path of a reward model."""
    named = rewards.named(given)
    return [
        {
            "model" if one.type == "model" else "function": one.path if one.type == "model" else name,
            "weight": one.weight,
        }
        for name, one in named
    ]


ROWS: tuple[Row, ...] = (
    *(same(word, word) for word in ("seed", "output")),
    constant("file", FILE),
    same("model", "path"),
    *(same(word, word) for word in ("revision", "adapter", "tokenizer", "precision", "trust_remote_code", "max_length")),
    made("sources", _sources, "sources"),
    *(
        same(word, word)
        for word in (
            "makes", "keep", "min_reward", "margin", "keep_truncated", "batch_size", "completions", "max_new_tokens",
            "temperature", "top_p",
        )
    ),
    made("rewards", _judges, "rewards"),
)  # fmt: skip


def _sheets(_s: Generate, environment: str) -> list[Sheet]:
    return [Sheet(SETTINGS, ROWS, TOOL, pinned(environment, TOOL), "", "json", raw_keys=False)]


def _job(s: Generate) -> Job:
    words = (Beside(SCRIPT), Beside(SETTINGS))
    each = s.hardware.per_node
    if each == 1:
        return Job(("python", *words), imports_emitted=True)
    start = ("torchrun", "--standalone", "--nproc_per_node", str(each))
    return Job(words, start=start, processes=each, imports_emitted=True, shares_cores=True)


def _files(s: Generate) -> dict[str, str]:
    found = {SCRIPT: program(SCRIPT)}
    return found | {rewards.FILE: rewards.text(s)} if rewards.functions(s) else found


def _need(s: Generate) -> Need:
    return reading(frozenset(["transformers", "peft", "datasets"]), s.format)


def _uses(_s: Generate) -> tuple[str, ...]:
    return ("output", "rewards", "hardware.per_node")


SYSTEM = System(
    "generate_rows",
    kinds=frozenset(["generate"]),
    sheets=_sheets,
    needs=_need,
    job=_job,
    files=_files,
    uses=_uses,
    can={"engine": frozenset(["hf"])},
    package=TOOL,
)
