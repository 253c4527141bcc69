"""Rules about a chat template of the user's own: what it renders, and how it begins an answer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from recipec.bounded import MEMORY, SECONDS
from recipec.kinds.train.records import Train
from recipec.rules.rule import Context, Fault, rule

if TYPE_CHECKING:
    from recipec.chat_template import Rendered, Tried

TALKS = ("chat", "preference", "unpaired-preference", "prompt")


def _tried(see: Context, s: Train) -> Tried | None:
    """Return what came of the user's own template; None without one that is here."""
    from recipec.chat_template import tried

    if s.model.chat_template_file is None or not see.folders:
        return None
    try:
        return tried(s.model.chat_template_file)
    except ValueError:
        return None


def _own(see: Context, s: Train) -> Rendered | None:
    """Return what the user's own template renders; None without one, or where that is not known."""
    found = _tried(see, s)
    return found.rendered if found is not None else None


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


@rule("L243", "template-without-end", "warning", sources="")
def without_end(see: Context, s: Train) -> Iterator[Fault]:
    """Finds a chat template that could not be tried, because rendering one question takes seconds, or all memory.

    Why is this bad:
    The trainer renders every row with it, in the same way: preparing the data would take years, or end for want of memory. What the template
    does with a conversation was not judged.

    Example:
        model: {base: my-lab/my-model, chat_template_file: templates/endless.jinja}

    Use instead:
        model: {base: my-lab/my-model, chat_template_file: templates/turns.jinja}
    """
    found = _tried(see, s)
    if found is not None and not found.tried:
        limits = f"{SECONDS} seconds, or {MEMORY >> 30} GiB of memory"
        message = f"the template could not be tried: a question and its answer take more than {limits}"
        yield Fault("model.chat_template_file", message, "look for loops in loops, and texts that double")


RULES = (drops_turns, no_beginning, without_end)
