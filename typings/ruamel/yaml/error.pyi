class StreamMark:
    """A place in a text; all three count from 0, in characters."""

    index: int
    line: int
    column: int

class YAMLError(Exception): ...

class MarkedYAMLError(YAMLError):
    context: str | None
    context_mark: StreamMark | None
    problem: str | None
    problem_mark: StreamMark | None

class YAMLWarning(Warning): ...
class ReusedAnchorWarning(YAMLWarning): ...
