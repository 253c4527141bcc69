"""inspect-ai 0.3.285: a script of ours asks a served model the questions of a benchmark by it, and is copied as it is."""

from __future__ import annotations

from recipec.job import Beside, Job
from recipec.kinds.answers import Answers
from recipec.systems import judging, serving
from recipec.systems.document import Sheet
from recipec.systems.system import Need, System
from recipec.systems.table import Row, constant, same

SETTINGS = "answers.json"
ROWS: tuple[Row, ...] = (
    *(same(word, word) for word in ("task", "benchmark")),
    judging.weights("model"),
    same("questions", "questions"),
    same("mode", "shots").when("benchmark", "logickor"),
    same("limit", "limit"),
    *(same(word, word) for word in ("max_tokens", "temperature", "seed", "connections")),
    constant("retries", judging.RETRIES),
    constant("seconds", judging.PATIENCE),
    same("output", "output"),
)


def _sheets(_s: Answers, environment: str) -> list[Sheet]:
    own = judging.settings(SETTINGS, ROWS, environment)
    return [own, serving.beside(judging.PACKAGE, own.release)]


def _job(s: Answers) -> Job:
    words = serving.beside_words("python", Beside(judging.ASKING), Beside(SETTINGS))
    return Job(words, processes=s.processes, imports_emitted=True)


SYSTEM = System(
    "ask_questions",
    kinds=frozenset(["answers"]),
    sheets=_sheets,
    needs=lambda _s: Need(judging.ENVIRONMENT),
    job=_job,
    files=lambda _s: judging.programs(judging.ASKING) | serving.beside_files(),
    uses=lambda _s: ("output", "processes"),
    package=judging.PACKAGE,
)
