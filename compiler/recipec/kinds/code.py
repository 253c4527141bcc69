"""`evaluate.code`: the tasks of an evaluation whose answers are programs, how these are drawn, and how they are run."""

from __future__ import annotations

from typing import Literal

from recipec.decide.said import Decided, Said, plain, section
from recipec.facts.datasets import answer_length, tests_of
from recipec.language.evaluate import Code as Words
from recipec.language.evaluate import Evaluate as EvaluateWords
from recipec.plan import Record
from recipec.plural import counted
from recipec.render.markdown import inert

USUAL = (1, 10, 100)  # the k of pass@k
WARM, LIKELY = 0.8, 0.95  # temperature and top_p: Chen et al. 2021, of many programs (arXiv:2107.03374, section 3.3)


class Code(Record, frozen=True):
    """Tasks whose answers are programs: so many for each problem, drawn at a temperature, each run with the problem's tests.

    `tests` are, for each task, `target` for lm-eval's own or the field of a problem that holds them. `max_new_tokens` None:
    each task's own. A program has `seconds`, GiB and MiB; `jobs` of them run at once.
    """

    tasks: tuple[str, ...]
    tests: tuple[str, ...]
    samples: int
    temperature: float
    top_p: float | None
    max_new_tokens: int | None
    pass_at: tuple[int, ...]
    seconds: float
    memory_gib: float
    file_mib: int
    jobs: int | Literal["auto"]


def asked(given: EvaluateWords) -> tuple[str, ...]:
    """Return the texts with names of tasks that an evaluation asks for, those of `code` behind the others."""
    further = given.code.tasks if given.code is not None else []
    return (*given.tasks, *(one for one in dict.fromkeys(further) if one not in given.tasks))


def names(given: EvaluateWords) -> tuple[str, ...]:
    """Return the tasks of an evaluation whose answers are programs that can be run in a sandbox."""
    further = given.code.tasks if given.code is not None else []
    every = (one for text in given.tasks for one in text.split(","))
    return tuple(dict.fromkeys((*(one for one in every if tests_of(one) is not None), *further)))


def longest(given: EvaluateWords) -> int:
    """Return how many tokens a program may have, the longest of all tasks; 0 where that is not known."""
    said = given.code.max_new_tokens if given.code is not None else None
    return max((said or answer_length(task) or 0 for task in names(given)), default=0)


def sandbox(say: Said, given: EvaluateWords) -> Decided[bool]:
    """Decide whether what a model writes is run in a sandbox."""
    if not names(given) and not say.wrote("evaluate.code.sandbox"):
        return plain(True)
    said = given.code.sandbox == "required" if given.code is not None and say.wrote("evaluate.code.sandbox") else None
    return say.take("evaluate.code.sandbox", said, usual=True, why="what a model writes is not trusted")


def decide(say: Said, given: EvaluateWords) -> Decided[Code] | None:
    """Decide how programs are written and run; None where no task has any."""
    tasks = names(given)
    if not tasks:
        return None
    words = given.code or Words()
    several = words.samples > 1
    temperature = say.take(
        "evaluate.code.temperature",
        words.temperature,
        WARM if several else 0.0,
        "several programs differ" if several else "one program is the likeliest",
        "evaluate.code.samples",
    )
    usual = tuple(k for k in USUAL if k <= words.samples)
    return section(
        Code,
        tasks=say.rule(tasks, "their answers are programs", "evaluate.tasks", "evaluate.code.tasks"),
        tests=say.rule(tuple(tests_of(task) or "target" for task in tasks), "where their tests are", kind="fact"),
        samples=say.word("evaluate.code.samples", words.samples),
        temperature=temperature,
        top_p=say.take(
            "evaluate.code.top_p",
            words.top_p,
            LIKELY if temperature.value else None,
            "as with that temperature" if temperature.value else "nothing is drawn",
            "evaluate.code.temperature",
            "evaluate.code.samples",
        ),
        max_new_tokens=say.take("evaluate.code.max_new_tokens", words.max_new_tokens, None, "each task's own"),
        pass_at=say.take(
            "evaluate.code.pass_at",
            tuple(sorted(set(words.pass_at))) if words.pass_at is not None else None,
            usual,
            "those that so many programs can tell",
            "evaluate.code.samples",
        ),
        seconds=say.word("evaluate.code.seconds", words.seconds),
        memory_gib=say.word("evaluate.code.memory_gib", words.memory_gib),
        file_mib=say.word("evaluate.code.file_mib", words.file_mib),
        jobs=say.word("evaluate.code.jobs", words.jobs),
    )


def sentence(body: Code, *, boxed: bool) -> str:
    """Return how programs are drawn and run, for a reviewer."""
    drawn = f"{counted(body.samples, 'program')} for each problem"
    drawn += f" at temperature {body.temperature:g}" if body.temperature else ""
    limits = f"{body.seconds:g} s, {body.memory_gib:g} GiB and {body.file_mib} MiB of files each"
    where = (
        f"each run in a sandbox without network (bubblewrap), with {limits}"
        if boxed
        else "**each run WITHOUT A SANDBOX, with the rights of whoever starts it**"
    )
    return f"of {inert(', '.join(body.tasks))}, {drawn}, {where}"
