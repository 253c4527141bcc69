"""`answers`: what a model answers to the questions of a benchmark that another model judges. Nobody writes one: `evaluate.judge` makes it."""

from __future__ import annotations

from typing import Literal

from recipec.decide.graph import Graph, Handed, Made
from recipec.decide.said import Decided, Said, indexed, plain, section
from recipec.kinds import serve
from recipec.kinds.kind import Kind
from recipec.language.judge import Judge as Words
from recipec.plan import FileRead, Input, Record, RowsOutput, Stage
from recipec.plural import counted
from recipec.render.markdown import code, inert

NAME, FILE, FORMAT = "answers", "answers.jsonl", "answers"
ASKED = "asked"  # the folder of what was answered so far, by what was asked
QUESTIONS = 2048  # tokens of both questions of a conversation, and of what stands before them
FIRST = "evaluate.judge"  # the recipe path of all benchmarks
Benchmark = Literal["mt_bench", "logickor", "pairs", "rubric"]
CHECKOUT = ("questions.jsonl", "templates.py", "evaluator.py")  # what is read of a checkout of LogicKor


class Weights(Record, frozen=True):
    """A model by its name here, and where its weights and its adapter are."""

    name: str
    path: str
    adapter: str | None


class Answers(Record, frozen=True):
    """Asks `subject`, behind the server of another stage, the questions of a file, or of a checkout's folder, turn by turn.

    `max_tokens` are those of one answer; `temperature` may be that of each question's category. `processes` are those of the server.
    """

    seed: int
    output: str
    task: str
    benchmark: Benchmark
    subject: Weights
    server: serve.Served
    processes: int
    questions: str
    shots: Literal["default", "1-shot", "cot-1-shot"]
    limit: int | None
    max_tokens: int
    temperature: float | Literal["category"]
    connections: int


def weights(name: str, handed: Handed) -> Weights:
    """Return a model as it is told from others."""
    return Weights(name, handed.model.path, handed.model.adapter)


def words(index: int) -> str:
    """Return the recipe path of one benchmark."""
    return indexed(FIRST, index)


def reads(say: Said, index: int, given: Words) -> list[FileRead]:
    """Return the files of the questions."""
    at = say.span(f"{words(index)}.questions").label()
    if given.benchmark == "logickor":
        return [FileRead(f"{given.questions.rstrip('/')}/{name}", at=at) for name in CHECKOUT]
    return [FileRead(given.questions, at=at)]


def temperature(say: Said, index: int, given: Words) -> Decided[float | Literal["category"]]:
    """Decide the temperature of the answers."""
    usual: float | Literal["category"] = "category" if given.benchmark == "mt_bench" else 0.0
    why = "as FastChat asks each category" if usual == "category" else "the likeliest answer"
    return say.take(f"{words(index)}.temperature", given.temperature, usual, why, f"{words(index)}.benchmark")


def asked(
    say: Said, graph: Graph, index: int, given: Words, task: str, name: str, handed: Handed, stage_name: str
) -> tuple[Made, ...]:
    """Make the stage that asks one model, and what must be there before: its server, and what that serves."""
    there = graph.services.get(name)
    before, server = ((), there) if there is not None else serve.behind(say, graph, handed, FIRST, _room(say))
    output, at = graph.folder(stage_name), words(index)
    body = section(
        Answers,
        seed=say.word("seed", say.recipe.seed),
        output=say.rule(output, "results of a run stay out of the emitted files", "name"),
        task=plain(task),
        benchmark=say.word(f"{at}.benchmark", given.benchmark),
        subject=say.rule(weights(name, handed), "", "evaluate.models", f"{at}.against"),
        server=plain(serve.served(server)),
        processes=plain(server.resources.per_node),
        questions=say.word(f"{at}.questions", given.questions),
        shots=say.word(f"{at}.shots", given.shots),
        limit=say.word(f"{at}.limit", given.limit),
        max_tokens=say.word(f"{at}.max_tokens", given.max_tokens),
        temperature=temperature(say, index, given),
        connections=say.word(f"{at}.connections", given.connections),
    )
    stage = Stage(
        name=stage_name,
        kind=NAME,
        system="",
        release="",
        environment="",
        inputs=(handed.input, Input(server.name, server.outputs[0])),
        outputs=(RowsOutput(f"{output}/{FILE}", FORMAT),),
        reads=tuple(reads(say, index, given)),
        resources=server.resources,
        output=output,
        resumable=False,
        body=body.value,
    )
    return (*before, Made(stage, body.origins))


def _sentence(stage: Stage[Answers]) -> str:
    s = stage.body
    few = f"the first {counted(s.limit, 'question')}" if s.limit else "the questions"
    how = "at the temperature of each category" if s.temperature == "category" else f"at temperature {s.temperature:g}"
    return (
        f"asks {inert(s.subject.name)} {few} of {code(s.questions)}, turn by turn, by inspect-ai, {how},"
        f" at most {s.max_tokens:,} tokens an answer, behind the server of {s.server.stage}; answers go to {code(f'{s.output}/{FILE}')}"
    )


def _room(say: Said) -> int:
    """Return how many tokens a conversation of any benchmark may have: what is asked, and the answers of two turns."""
    given = say.recipe.evaluate.judge if say.recipe.evaluate is not None else []
    return QUESTIONS + 2 * max((one.max_tokens for one in given), default=0)


ACTS = ("output", "task", "subject", "server")


def _keys(s: Answers) -> tuple[str, ...]:
    return (s.server.key_variable,) if s.server.key_variable is not None else ()


KIND = Kind(NAME, Answers, "Asks the model.", None, _sentence, ACTS, keys=_keys, keeps=(ASKED,))
