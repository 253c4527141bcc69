"""A chat template of the user: compiled as Transformers does, and tried on one question and its answer.

Jinja computes constants when it compiles, and templates hold loops: both happen in a process of their own, which ends.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from recipec.bounded import Unbounded, bounded
from recipec.regular_file import read_regular

if TYPE_CHECKING:
    from jinja2 import nodes
    from jinja2.parser import Parser
    from jinja2.sandbox import ImmutableSandboxedEnvironment

LARGEST = 1 << 20  # bytes; the longest template of a known model has 30,000
QUESTION, ANSWER = "Wie viele Beine hat eine Spinne?", "Acht Beine sind es."


class Trouble(NamedTuple):
    """What is wrong with a template, and what to do."""

    message: str
    advice: str


class Rendered(NamedTuple):
    """What a template makes of one question and its answer: whether each is in the text, and what an answer begins with.

    `prompts`: with `add_generation_prompt`, the text of a question alone is longer than without.
    """

    question: bool
    answer: bool
    prompts: bool


class Tried(NamedTuple):
    """What came of a template. `tried` is false where it took too long, or too much memory: then nothing else is known.

    `line` and `syntax` tell why it is no Jinja, where it is none; `reads` whether it looks at the messages at all;
    `rendered` is None where it refuses the sample.
    """

    tried: bool
    syntax: str | None = None
    line: int | None = None
    reads: bool = True
    rendered: Rendered | None = None


def tried(path: str) -> Tried | None:
    """Return what came of the template in a file; None where it is not here. Raises ValueError where it is not UTF-8."""
    try:
        text = read_regular(path, LARGEST).decode()
    except OSError:
        return None  # another finding tells that it is not here
    return _tried(text)


def trouble(path: str) -> Trouble | None:
    """Return what would fail when a conversation is rendered; None when nothing would, or the file is not here."""
    try:
        found = tried(path)
    except ValueError:
        return Trouble(f"{path} is not UTF-8", "save it as UTF-8")
    if found is not None and found.syntax is not None:
        at = f"{path}:{found.line}" if found.line is not None else path
        return Trouble(f"{at} is not valid Jinja: {found.syntax}", "correct the template")
    if found is not None and not found.reads:
        message = f"{path} never reads `messages`: every conversation would be rendered as the same text"
        return Trouble(message, "write a loop: {% for message in messages %} … {% endfor %}")
    return None


@lru_cache(maxsize=16)
def _tried(text: str) -> Tried:
    try:
        found: dict[str, object] = bounded("recipec.chat_template:examine", text)
    except Unbounded:
        return Tried(tried=False)
    rendered = found.pop("rendered")
    return Tried(tried=True, rendered=Rendered(*rendered) if rendered else None, **found)  # type: ignore[misc, arg-type]


def environment() -> ImmutableSandboxedEnvironment:
    """Return the environment in which Transformers compiles chat templates (`transformers.utils.chat_template_utils`)."""
    from jinja2.ext import Extension, loopcontrols
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Generation(Extension):
        """`{% generation %}`, with which Transformers marks what the assistant says."""

        tags = {"generation"}

        def parse(self, parser: Parser) -> list[nodes.Node]:
            next(parser.stream)
            return parser.parse_statements(("name:endgeneration",), drop_needle=True)

    return ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[Generation, loopcontrols])


def examine(text: str) -> dict[str, object]:
    """Return what came of a template, as fields of `Tried`. May never end: see `bounded`."""
    from jinja2 import TemplateError, TemplateSyntaxError
    from jinja2.meta import find_undeclared_variables

    made, nothing = environment(), dict[str, object](rendered=None)
    try:
        made.compile(text)
        read = find_undeclared_variables(made.parse(text))
    except TemplateSyntaxError as error:
        return {**nothing, "syntax": error.message, "line": error.lineno}
    except (TemplateError, RecursionError) as error:
        return {**nothing, "syntax": str(error)}
    return {"reads": "messages" in read, "rendered": _render(made, text)}


def _render(made: ImmutableSandboxedEnvironment, text: str) -> tuple[bool, bool, bool] | None:
    """Return what a template renders, as fields of `Rendered`; None where it refuses the sample."""
    from jinja2 import TemplateError

    def a_day(_format: str) -> str:
        return "1 January 2026"

    def refuse(message: str) -> str:
        raise TemplateError(message)

    turns = [{"role": "user", "content": QUESTION}, {"role": "assistant", "content": ANSWER}]
    names: dict[str, object] = {
        "bos_token": "<s>",
        "eos_token": "</s>",
        "pad_token": "<pad>",
        "unk_token": "<unk>",
        "tools": None,
        "raise_exception": refuse,
        "strftime_now": a_day,
    }
    try:
        template = made.from_string(text)
        whole = template.render(messages=turns, add_generation_prompt=False, **names)
        asked = [template.render(messages=turns[:1], add_generation_prompt=word, **names) for word in (False, True)]
    except (MemoryError, RecursionError, OverflowError):
        raise  # it was not tried: it has no end, or none that could be waited for
    except Exception:  # a template may raise anything
        return None
    return QUESTION in whole, ANSWER in whole, len(asked[1]) > len(asked[0])
