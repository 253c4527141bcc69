"""`recipe adopt`: a PyTorch loop for one GPU becomes one for several by Accelerate, in the fewest lines that do it.

Needs libcst (`pip install 'recipec[adopt]'`), and nothing of torch: the script is read, never run.
"""

import difflib
from typing import NamedTuple

from recipec.diagnostics import Finding, RecipeError
from recipec.regular_file import read_regular
from recipec.source import Source, Span


class Adopted(NamedTuple):
    """The script as it was and as it is for several processes, and what a user should know of it."""

    file: str
    before: str
    after: str
    notes: tuple[str, ...]

    @property
    def diff(self) -> str:
        """The change as a unified diff; empty when there is nothing to do."""
        before, after = (text.splitlines(keepends=True) for text in (self.before, self.after))
        return "".join(difflib.unified_diff(before, after, self.file, self.file))


def adopt(file: str) -> Adopted:
    """Return what becomes of a script. Raises RecipeError with located findings where it cannot be read or adopted."""
    try:
        text = read_regular(file).decode("utf-8")
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise RecipeError([Finding("A000", f"cannot read {file}: {why}", file=file)]) from None
    try:
        import libcst as cst
        from libcst.metadata import MetadataWrapper
    except ImportError:
        advice = "install it with: pip install 'recipec[adopt]'"
        raise RecipeError([Finding("A000", "adopt needs the package libcst", help=advice, file=file)]) from None
    from recipec.adopt.placing import place
    from recipec.adopt.rewrite import Rewrite
    from recipec.adopt.survey import Survey
    from recipec.adopt.tree import dotted, last
    from recipec.adopt.trouble import Trouble

    source = Source(file, text, file)
    try:
        wrapper = MetadataWrapper(cst.parse_module(text))
    except cst.ParserSyntaxError as error:
        at = Span(source, error.raw_line, error.raw_column + 1, error.raw_line, error.raw_column + 2)
        raise RecipeError([Finding("A000", "the script is not valid Python", at, help="correct it first")]) from None
    survey = Survey(wrapper)
    wrapper.module.visit(survey)
    if any(last(dotted(use.node.func)) == "Accelerator" for use in survey.calls if isinstance(use.node, cst.Call)):
        return Adopted(file, text, text, ("the script uses Accelerate already: there is nothing to do",))
    survey.spread()
    try:
        places = place(survey, wrapper.module)
        after = wrapper.module.visit(Rewrite(survey, places, wrapper.module)).code
    except Trouble as trouble:
        line, column, end = 1, 0, 1
        if trouble.node is not wrapper.module:
            found = survey.range(trouble.node)
            line, column = found.start.line, found.start.column
            end = found.end.column if found.end.line == line else len(text.splitlines()[line - 1])
        span = Span(source, line, column + 1, line, max(end, column + 1) + 1)
        raise RecipeError([Finding(trouble.code, trouble.message, span, help=trouble.advice)]) from None
    return Adopted(file, text, after, tuple(places.notes))
