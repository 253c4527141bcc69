"""`judge`: what other models say of a model's answers. Nobody writes one: `evaluate.judge` makes it, behind the answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from recipec.decide.graph import Graph, Handed, Made
from recipec.decide.said import Said, indexed, plain, section, several
from recipec.kinds import answers
from recipec.kinds.answers import ASKED, FIRST, Benchmark, Weights, words
from recipec.kinds.kind import Kind
from recipec.language.evaluate import Evaluate as EvaluateWords
from recipec.language.judge import Judge as Words
from recipec.plan import FileRead, Input, Record, Resources, RowsOutput, ScoresOutput, Stage
from recipec.plural import counted
from recipec.render.markdown import code, inert

NAME = "judge"
ATTEMPTS = 3
Mode = Literal["single", "pairwise"]


class Price(Record, frozen=True):
    """Dollars for a million tokens."""

    input: float
    output: float


class By(Record, frozen=True):
    """Who judges, and where; `temperature` is its own where it says `subject`. `max_tokens` are those of a verdict."""

    model: str
    url: str
    key_variable: str | None
    price: Price | None
    temperature: float | Literal["model"]
    max_tokens: int


class Judge(Record, frozen=True):
    """Lets models judge the answers of `subject`, by themselves or in both orders beside those of `against`.

    `answers` and `against_answers` are files of answers. Without `prompts`, they are those that are emitted. `max_unparsed` is a
    share of all verdicts, `max_cost` in dollars.
    """

    output: str
    task: str
    benchmark: Benchmark
    mode: Mode
    subject: Weights
    answers: str
    against: str | None
    against_answers: str | None
    questions: str
    references: str | None
    prompts: str | None
    rubric: str | None
    limit: int | None
    by: tuple[By, ...]
    allow: tuple[str, ...]
    attempts: int
    max_unparsed: float
    max_cost: float | None
    connections: int


def mode_of(given: Words) -> Mode:
    """Return how a benchmark is judged: as is said, or as is usual for it."""
    return given.mode or ("pairwise" if given.benchmark == "pairs" else "single")


def task_of(given: Words) -> str:
    """Return the name of the scores of a benchmark."""
    if given.name is not None:
        return given.name
    pairwise = mode_of(given) == "pairwise" and given.benchmark != "pairs"
    return f"{given.benchmark}_pairwise" if pairwise else given.benchmark


def opponent(given: Words, models: Mapping[str, Handed]) -> str | None:
    """Return the name of what a model is compared with: another model, or a file of answers; None where there is none."""
    if mode_of(given) == "single":
        return None
    if given.against_answers is not None:
        return given.against_answers
    return given.against if given.against in models else None


def judged(
    say: Said, graph: Graph, given: EvaluateWords, models: Mapping[str, Handed], there: Mapping[str, Handed], own: str
) -> tuple[Made, ...]:
    """Make the stages that ask models and judge their answers. `there` are all models by their names, `own` is the name of the stage that a user wrote, if one did."""
    found: list[Made] = []
    verdicts: list[Made] = []  # behind all answers, so that no GPU waits for a judge
    asked: dict[tuple[Any, ...], Stage[Any]] = {}

    def answered(index: int, one: Words, name: str, handed: Handed) -> Stage[Any]:
        """Return the stage that asks a model, made where the same is not asked already."""
        same = (handed.name, one.questions, one.benchmark, one.shots, one.limit, one.max_tokens, one.temperature)
        if same not in asked:
            at = _free(_named(answers.NAME, own, name, task_of(one)), graph, found)
            made = answers.asked(say, _after(graph, found), index, one, task_of(one), name, handed, at)
            found.extend(made)
            asked[same] = made[-1].stage
        return asked[same]

    for index, one in enumerate(given.judge):
        against = opponent(one, there)
        if mode_of(one) == "pairwise" and against is None:  # an error of its own (P352)
            continue
        for name, handed in models.items():
            if against == name:
                continue
            first = answered(index, one, name, handed)
            other = None
            if against is not None and one.against_answers is None:
                other = answered(index, one, against, there[against])
            at = _free(_named(NAME, own, name, task_of(one)), graph, verdicts)
            verdicts.append(_made(say, graph, index, one, name, handed, first, other, at))
    return (*found, *verdicts)


def _named(kind: str, own: str, model: str, task: str) -> str:
    """Return the name of a stage: in a course, the one that a user wrote stands before it."""
    return f"{own}-{kind}-{task}" if own else f"{kind}-{model}-{task}"


def _free(name: str, graph: Graph, made: list[Made]) -> str:
    """Return a name of a stage that no other has; `@best` is written as a word."""
    name = name.replace("@", "-")
    taken = {*graph.stages, *graph.listed, *(one.stage.name for one in made)}
    return next(one for number in range(1, 1000) if (one := name if number == 1 else f"{name}-{number}") not in taken)


def _after(graph: Graph, made: list[Made]) -> Graph:
    """Return the course with the stages that were made of late."""
    merged = {one.hands.name: one.hands for one in made if one.hands is not None and one.merges}
    stages = {one.stage.name: one.stage for one in made}
    return graph.replaced(stages={**graph.stages, **stages}, merged={**graph.merged, **merged})


def _made(
    say: Said,
    graph: Graph,
    index: int,
    given: Words,
    name: str,
    handed: Handed,
    first: Stage[Any],
    other: Stage[Any] | None,
    stage_name: str,
) -> Made:
    output, at, task, mode = graph.folder(stage_name), words(index), task_of(given), mode_of(given)
    left = first.outputs[0]
    against = other.outputs[0] if other is not None else None
    assert isinstance(left, RowsOutput)
    assert against is None or isinstance(against, RowsOutput)
    opposite = other.body.subject.name if other is not None else given.against_answers if mode == "pairwise" else None
    body = section(
        Judge,
        output=say.rule(output, "results of a run stay out of the emitted files", "name"),
        task=say.take(f"{at}.name", given.name, task, "that of the benchmark", f"{at}.benchmark", f"{at}.mode"),
        benchmark=say.word(f"{at}.benchmark", given.benchmark),
        mode=say.take(f"{at}.mode", given.mode, mode, "usual for the benchmark", f"{at}.benchmark"),
        subject=say.rule(answers.weights(name, handed), "", "evaluate.models"),
        answers=say.rule(left.place, f"what {first.name} leaves", FIRST),
        against=say.rule(opposite, "", f"{at}.against", f"{at}.against_answers"),
        against_answers=say.take(
            f"{at}.against_answers",
            given.against_answers if mode == "pairwise" else None,
            against.place if against is not None else None,
            f"what {other.name if other is not None else 'nobody'} leaves",
            f"{at}.against",
        ),
        questions=say.word(f"{at}.questions", given.questions),
        references=say.word(f"{at}.references", given.references),
        prompts=say.word(f"{at}.prompts", given.prompts),
        rubric=say.word(f"{at}.rubric", given.rubric),
        limit=say.word(f"{at}.limit", given.limit),
        by=several(_by(say, indexed(f"{at}.by", number), one) for number, one in enumerate(given.by)),
        allow=say.take(f"{at}.allow", tuple(given.allow), ()),
        attempts=say.take(f"{at}.attempts", given.attempts, ATTEMPTS, "for replies that cannot be read"),
        max_unparsed=say.word(f"{at}.max_unparsed", given.max_unparsed),
        max_cost=say.word(f"{at}.max_cost", given.max_cost),
        connections=say.word(f"{at}.connections", given.connections),
    )
    taken = [Input(one.name, one.outputs[0]) for one in (first, other) if one is not None]
    stage = Stage(
        name=stage_name,
        kind=NAME,
        system="",
        release="",
        environment="",
        inputs=(handed.input, *taken),
        outputs=(ScoresOutput(output, name, (task,)),),
        reads=tuple(_reads(say, index, given)),
        resources=Resources("cpu", None, 1, 1),
        output=output,
        resumable=False,
        body=body.value,
    )
    return Made(stage, body.origins)


def _by(say: Said, at: str, given: Any) -> Any:
    price = given.price
    return section(
        By,
        model=say.word(f"{at}.model", given.model),
        url=say.word(f"{at}.url", given.url),
        key_variable=say.word(f"{at}.key_variable", given.key_variable),
        price=plain(None)
        if price is None
        else section(
            Price,
            input=say.word(f"{at}.price.input", price.input),
            output=say.word(f"{at}.price.output", price.output),
        ),
        temperature=say.word(f"{at}.temperature", given.temperature),
        max_tokens=say.word(f"{at}.max_tokens", given.max_tokens),
    )


def _reads(say: Said, index: int, given: Words) -> list[FileRead]:
    found = answers.reads(say, index, given)
    for word in ("references", "prompts", "against_answers"):
        path = getattr(given, word)
        if path is not None:
            found.append(FileRead(path, at=say.span(f"{words(index)}.{word}").label()))
    return found


def most_of_a_verdict(given: Words | Judge, by: Any) -> float | None:
    """Return the most dollars that a judge may cost for what it says in one verdict, asked as often as it may be; None without a price."""
    if by.price is None:
        return None
    times = (given.attempts or ATTEMPTS) if by.temperature != 0 else 1  # at temperature 0 it would say the same again
    return float(times * by.max_tokens * by.price.output / 1e6)


def _sentence(stage: Stage[Judge]) -> str:
    s = stage.body
    who = " and ".join(f"{inert(one.model)} at {inert(one.url)}" for one in s.by)
    what = f"the answers of {inert(s.subject.name)}"
    if s.mode == "pairwise":
        what += f" beside those of {inert(s.against or '')}, in both orders"
    each = len(s.by) * (2 if s.mode == "pairwise" else 1)
    costs = [most_of_a_verdict(s, one) for one in s.by]
    priced = "" if None in costs else f", ${sum(filter(None, costs)):.2g} each at most for what is said in it"
    most = f"; more than ${s.max_cost:g} is not begun" if s.max_cost is not None else ""
    return (
        f"lets {who} judge {what}: {counted(each, 'verdict')} on each turn of a question ({s.benchmark}){priced}; the run says what all of"
        f" it costs at most before it asks{most}; scores go to {code(s.output)}"
    )


ACTS = ("output", "task", "subject", "against", "answers", "against_answers", "allow", "mode")
# what scores depend on beside the model
TERMS = ("benchmark", "mode", "against", "questions", "references", "prompts", "rubric", "limit", "by")


def _keys(s: Judge) -> tuple[str, ...]:
    return tuple(one.key_variable for one in s.by if one.key_variable is not None)


KIND = Kind(NAME, Judge, "Lets the answers be judged.", None, _sentence, ACTS, terms=TERMS, keys=_keys, keeps=(ASKED,))
