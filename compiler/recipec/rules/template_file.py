"""A chat template of the user, checked by its source alone, as Transformers would compile it: nothing of it is rendered."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from recipec.regular_file import read_regular

if TYPE_CHECKING:
    from jinja2 import nodes
    from jinja2.parser import Parser
    from jinja2.sandbox import ImmutableSandboxedEnvironment

LARGEST = 1 << 20  # characters of a template


class Trouble(NamedTuple):
    """What is wrong with a template, and what to do."""

    message: str
    advice: str


def trouble(path: str) -> Trouble | None:
    """Return what would fail when a conversation is rendered; None when nothing would, or the file is not here."""
    try:
        text = read_regular(path, LARGEST).decode()
    except OSError:
        return None  # another finding tells that it is not here
    except ValueError:
        return Trouble(f"{path} is not UTF-8", "save it as UTF-8")
    return _trouble_of(path, text)


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


@lru_cache(maxsize=16)
def _trouble_of(path: str, text: str) -> Trouble | None:
    from jinja2 import TemplateError, TemplateSyntaxError
    from jinja2.meta import find_undeclared_variables

    made = environment()
    try:
        made.compile(text)
        read = find_undeclared_variables(made.parse(text))
    except TemplateSyntaxError as error:
        return Trouble(f"{path}:{error.lineno} is not valid Jinja: {error.message}", "correct the template")
    except (TemplateError, RecursionError) as error:
        return Trouble(f"{path} is not valid Jinja: {error}", "correct the template")
    if "messages" not in read:
        message = f"{path} never reads `messages`: every conversation would be rendered as the same text"
        return Trouble(message, "write a loop: {% for message in messages %} … {% endfor %}")
    return None
