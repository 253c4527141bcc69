"""Rules about a chat template of the user's own: what it renders, and how it begins an answer."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

from recipec.kinds.train.records import Train
from recipec.regular_file import read_regular
from recipec.rules.rule import Context, Fault, rule
from recipec.rules.template_file import environment

LARGEST = 1 << 18  # bytes; the longest template of a known model has 30,000
QUESTION, ANSWER = "Wie viele Beine hat eine Spinne?", "Acht Beine sind es."
TALKS = ("chat", "preference", "unpaired-preference", "prompt")


class Rendered(NamedTuple):
    """What a template makes of one question and its answer: whether each is in the text, and what an answer begins with.

    `prompts`: with `add_generation_prompt`, the text of a question alone is longer than without.
    """

    question: bool
    answer: bool
    prompts: bool


@lru_cache(maxsize=16)
def rendered(text: str) -> Rendered | None:
    """Return what a template renders; None where it cannot be told: it refuses the sample, or is no Jinja."""
    from jinja2 import TemplateError

    def _a_day(_format: str) -> str:
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
        "strftime_now": _a_day,
    }
    try:
        template = environment().from_string(text)
        whole = template.render(messages=turns, add_generation_prompt=False, **names)
        asked = [template.render(messages=turns[:1], add_generation_prompt=word, **names) for word in (False, True)]
    except Exception:  # a template may raise anything; whether it is Jinja at all is told elsewhere
        return None
    return Rendered(QUESTION in whole, ANSWER in whole, len(asked[1]) > len(asked[0]))


def _own(see: Context, s: Train) -> Rendered | None:
    """Return what the user's own template renders; None without one that is here."""
    if s.model.chat_template_file is None or not see.folders:
        return None
    try:
        return rendered(read_regular(s.model.chat_template_file, LARGEST).decode())
    except (OSError, ValueError):
        return None


@rule("L189", "template-that-drops-turns", "error", sources="")
def drops_turns(see: Context, s: Train) -> Iterator[Fault]:
    """Finds a chat template that leaves out the question or the answer of a conversation.

    Why is this bad:
    What is not rendered is not trained on. Most often the template asks for another name of a role, such as `gpt` in place
    of `assistant`: the trainers hand it `user` and `assistant`.

    Example:
        model: {base: my-lab/my-model, chat_template_file: templates/gpt.jinja}

    Use instead:
        model: {base: my-lab/my-model, chat_template_file: templates/turns.jinja}
    """
    found = _own(see, s)
    if found is not None and not (found.question and found.answer) and any(x.format in TALKS for x in s.data.train):
        gone = "assistant" if found.question else "user" if found.answer else "user and assistant"
        advice = "render message['content'] of the roles user and assistant"
        yield Fault("model.chat_template_file", f"the template renders no turn of {gone}", advice)


@rule("L190", "template-without-a-beginning", "warning", sources="")
def no_beginning(see: Context, s: Train) -> Iterator[Fault]:
    """Finds a chat template that does not begin the assistant's turn when it is asked to.

    Why is this bad:
    Whoever asks the model, an evaluation or a server, renders with `add_generation_prompt`. A template that does not look
    at it leaves the model to begin the turn itself, or to go on with the user's.

    Example:
        model: {base: my-lab/my-model, chat_template_file: templates/no-beginning.jinja}

    Use instead:
        model: {base: my-lab/my-model, chat_template_file: templates/turns.jinja}
    """
    found = _own(see, s)
    if found is not None and found.question and found.answer and not found.prompts:
        advice = "end it with {% if add_generation_prompt %}, and what stands before an answer"
        yield Fault("model.chat_template_file", "the template never begins an answer", advice)


RULES = (drops_turns, no_beginning)
