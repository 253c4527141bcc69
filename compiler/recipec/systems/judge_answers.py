"""inspect-ai 0.3.285: a script of ours asks judges for verdicts on answers by it, and is copied as it is."""

from __future__ import annotations

from typing import Any

from recipec.job import Beside, Job
from recipec.kinds.judge import By, Judge
from recipec.systems import judging
from recipec.systems.document import Sheet
from recipec.systems.programs import program
from recipec.systems.system import Need, System
from recipec.systems.table import Row, constant, made, same

SETTINGS, PROMPTS = "judge.json", "judge_prompts.jsonl"


def _judges(judges: tuple[By, ...]) -> list[dict[str, Any]]:
    return [
        {
            "name": one.model,
            "url": one.url,
            "key_variable": one.key_variable,
            "temperature": one.temperature,
            "max_tokens": one.max_tokens,
            "price": None if one.price is None else {"input": one.price.input, "output": one.price.output},
        }
        for one in judges
    ]


ROWS: tuple[Row, ...] = (
    *(same(word, word) for word in ("task", "benchmark")),
    same("kind", "mode"),
    judging.weights("model"),
    *(same(word, word) for word in ("answers", "against")),
    same("against_answers", "against_answers"),
    *(same(word, word) for word in ("questions", "references", "prompts", "rubric")),
    same("limit", "limit"),
    made("judges", _judges, "by"),
    made("allow", list, "allow"),
    *(same(word, word) for word in ("attempts", "max_unparsed", "max_cost", "connections")),
    constant("retries", judging.RETRIES),
    constant("seconds", judging.PATIENCE),
    same("output", "output"),
)


def _sheets(_s: Judge, environment: str) -> list[Sheet]:
    return [judging.settings(SETTINGS, ROWS, environment)]


def _job(_s: Judge) -> Job:
    return Job(("python", Beside(judging.JUDGING), Beside(SETTINGS)), imports_emitted=True)


def _files(s: Judge) -> dict[str, str]:
    found = judging.programs(judging.JUDGING, judging.ASKING)
    return found if s.prompts is not None or s.benchmark == "logickor" else found | {PROMPTS: program(PROMPTS)}


SYSTEM = System(
    "judge_answers",
    kinds=frozenset(["judge"]),
    sheets=_sheets,
    needs=lambda _s: Need(judging.ENVIRONMENT),
    job=_job,
    files=_files,
    uses=lambda _s: ("output", "benchmark", "prompts"),
    package=judging.PACKAGE,
)
