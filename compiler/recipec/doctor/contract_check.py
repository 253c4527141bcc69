"""One file against what its tool reads: dead keys, wrong types and values, as that tool would take the value."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal, NamedTuple

from recipec import contracts
from recipec.contracts import Problem, kind
from recipec.diagnostics import Finding
from recipec.doctor.reading import Read, number
from recipec.doctor.recognise import EXPERIMENTAL, TITLES, TRAINERS, Guess, latest, pinned_beside
from recipec.doctor.renamed import FATE, MOVED
from recipec.facts import is_between
from recipec.source import Mapping, Node, Path, Plain, Scalar, Span, beginning, dotted, find, key_span, plain
from recipec.yaml_reader import scalar_value

# How deep in a file a tool reads text where it wants a number or truth: pydantic everywhere, argparse what stands at the top,
# DeepSpeed in the models of its sections. Elsewhere text is handed on as text.
READS_TEXT = {"axolotl": range(1, 99), "trl": range(1, 2), "deepspeed": range(2, 99)}
LISTED = ("lora_target_modules",)  # TRL hands a single word on to PEFT, which takes it
_TRUTH: dict[str, bool] = {
    **dict.fromkeys(("true", "yes", "on", "1", "t", "y"), True),
    **dict.fromkeys(("false", "no", "off", "0", "f", "n"), False),
}
# Keys that are there for people, or to hold an anchor: written so on purpose where the tool ignores what it does not know.
_ON_PURPOSE = re.compile(r"(?:x-|_|\.|//|#|\$).*|comments?")
_IGNORED_AT = {
    "axolotl": range(1, 99),
    "deepspeed": range(1, 2),
}  # how deep a tool drops unknown keys without a message
_STRATEGY = ("sharding_strategy", "fsdp_sharding_strategy")
_OF_FSDP1 = ("sharding_strategy", "forward_prefetch")


class File(NamedTuple):
    """A file that was recognised: what was typed, what it is, its located tree and the same as plain values.

    What a trainer's file holds for DeepSpeed is a file of its own, whose `holder` is the trainer's.
    """

    name: str
    guess: Guess
    tree: Mapping
    values: dict[str, Plain]
    holder: File | None = None
    aliased: frozenset[Span] = frozenset()  # what aliases repeat elsewhere

    def get(self, path: str, default: Plain = None) -> Plain:
        """Return the value at a dotted path, or `default` where there is none or it is null."""
        at: Plain = self.values
        for step in path.split("."):
            at = at.get(step) if isinstance(at, dict) else None
        return default if at is None else at

    def span(self, path: str | Path, *, value: bool = False) -> Span:
        """Return where a key (or its value) stands; of a path that is not there, the nearest above it."""
        steps: Path = tuple(path.split(".")) if isinstance(path, str) else path
        while steps:
            node = find(self.tree, steps)
            if node is not None:
                return node.span if value else key_span(self.tree, steps) or node.span
            steps = steps[:-1]
        return beginning(self.tree)


def as_taken(file: File) -> File:
    """Return a file with text that its tool reads as a truth value or a number (`"true"`, `"0.1"`) as that."""
    if file.guess.tool not in ("axolotl", "trl"):
        return file
    contract = contracts.load(file.guess.tool, file.guess.release)
    depths = READS_TEXT[file.guess.tool]

    def taken(value: Plain, path: Path) -> Plain:
        if isinstance(value, dict):
            return {key: taken(child, (*path, key)) for key, child in value.items()}
        if isinstance(value, list):
            return [taken(child, (*path, index)) for index, child in enumerate(value)]
        if not isinstance(value, str) or len(path) not in depths:
            return value
        node = contract.node(file.guess.document, path) or {}
        types = set(node.get("type", ()))
        named = "choices" in node or "patterns" in node
        if "any" in types or ("str" in types and (not named or value in node.get("choices", ()))):
            return value
        if "bool" in types and value.lower() in _TRUTH:
            return _TRUTH[value.lower()]
        if "float" in types and _like_number(value):
            return float(value)
        if "int" in types and (found := number(value)) is not None and float(found).is_integer():
            return int(found)
        return value

    values = taken(file.values, ())
    assert isinstance(values, dict)
    return file._replace(values=values)


def only_fsdp2(file: File) -> bool:
    """Return whether the file is of a release of Axolotl that has no FSDP1 any more."""
    return file.guess.tool == "axolotl" and is_between(file.guess.release, "0.21.0", "")


def fsdp_version(file: File) -> int:
    """Return the FSDP version that Axolotl takes; its own default is the first, and since 0.21 there is only the second."""
    if only_fsdp2(file):
        return 2
    said = file.get("fsdp_version") or file.get("fsdp_config.version") or file.get("fsdp_config.fsdp_version") or 1
    return 2 if str(said) == "2" else 1


_PLACEHOLDER = re.compile(r"\{\{.*\}\}|\{%.*%\}", re.DOTALL)


def holds_template(file: File) -> Iterator[Finding]:
    """Tell that values of a file are filled in by a template: they were not judged."""
    contract = contracts.load(file.guess.tool, file.guess.release)
    for path, node in _scalars(file.tree, ()):
        if isinstance(node.value, str) and _PLACEHOLDER.search(node.value) and "jinja" not in str(path[-1]):
            types = set((contract.node(file.guess.document, path) or {}).get("type", ("any",)))
            if not types & {"str", "any"}:
                message = "this is a Jinja template: values such as this one are filled in later, and were not judged"
                yield Finding("D194", message, node.span, help="give doctor what comes out of it", severity="warning")
                return


def held(file: File) -> File | None:
    """Return DeepSpeed's configuration that a trainer's file holds itself: the trainers take a mapping where they take a name."""
    inside = file.tree.entries.get("deepspeed")
    if file.guess.tool not in TRAINERS or not isinstance(inside, Mapping) or not inside.entries:
        return None
    values = plain(inside)
    assert isinstance(values, dict)
    because = f"the mapping below `deepspeed:` of {TITLES[file.guess.tool]}"
    guess = pinned_beside(Guess("deepspeed", latest("deepspeed"), "ds_config", because), file.guess)
    return File(file.name, guess, inside, values, file)


def written_twice(file: File, read: Read) -> Iterator[Finding]:
    """Yield the keys that one mapping holds twice: JSON's and PyYAML's readers take the last without a message."""
    refuses = file.guess.tool in ("llamafactory", "deepspeed")
    for twice in read.twice:
        says = "the same" if twice.agree else "another value"
        message = f'key "{twice.name}" is written twice in one mapping, with {says}'
        does = f"{file.guess.title} refuses it" if refuses else f"{file.guess.title} uses this one without a message"
        advice = f"the first is on line {twice.first}; {does}: keep one of them"
        severity: Literal["error", "warning"] = "warning" if twice.agree and not refuses else "error"
        yield Finding("D102", message, twice.span, help=advice, severity=severity)


def contract_findings(file: File) -> Iterator[Finding]:
    """Yield what the tool's contract has against a file."""
    guess = file.guess
    if guess.tool == "script":
        return
    contract = contracts.load(guess.tool, guess.release)
    told: set[Span] = set()  # a merged or aliased value stands in one place, however often it counts
    for problem in contract.check(guess.document, file.values):
        node = contract.node(guess.document, problem.path) or {}
        if problem.on == "value" and _taken(file, node, problem):
            continue
        if problem.on == "key" and _meant(file, problem):
            continue
        found = _dead(file, problem) if problem.on == "key" else _wrong(file, node, problem)
        if found.span and found.span not in told:
            told.add(found.span)
            yield found
    if guess.tool == "llamafactory" or guess.document in EXPERIMENTAL:
        return  # it is transformers that deprecates them, and these tools' own files are written so
    for old in contract.deprecated(guess.document, file.values):
        if find(file.tree, old.path) is not None and _value(file, old.path) is not None:
            beside_it = find(file.tree, (*old.path[:-1], old.suggestion)) if old.suggestion else None
            message = f"{guess.title}: {old.message}"
            instead = None if beside_it is not None else old.suggestion
            yield Finding("D103", message, file.span(old.path), instead, "it still works at this release", "warning")


def _meant(file: File, problem: Problem) -> bool:
    """Return whether a key that the tool ignores is written for people, or only holds an anchor that is used."""
    if len(problem.path) not in _IGNORED_AT.get(file.guess.tool, ()) or "is no longer read" in problem.message:
        return False
    node = find(file.tree, problem.path)
    anchor = len(problem.path) == 1 and node is not None and node.span in file.aliased
    return anchor or bool(_ON_PURPOSE.fullmatch(str(problem.path[-1])))


def taken_for_text(file: File) -> Iterator[Finding]:
    """Yield numbers that PyYAML takes for text (`1e-6`) where the tool hands them on as they are, as in keyword arguments."""
    if file.guess.tool in ("llamafactory", "deepspeed", "script") or file.name.endswith(".json"):
        return
    contract = contracts.load(file.guess.tool, file.guess.release)
    for path, node in _scalars(file.tree, ()):
        if (
            not isinstance(node.value, str)
            or not _like_number(node.text)
            or not isinstance(scalar_value(node.text), float)
        ):
            continue
        said = contract.node(file.guess.document, path)
        plainly = node.span.source.line(node.span.line)[node.span.column - 1 : node.span.column] not in (
            "'",
            '"',
            "|",
            ">",
        )
        if plainly and said is not None and "any" in said["type"]:
            message = f"{file.guess.title}: {dotted(path)}: {node.text} is text, not a number"
            advice = f"YAML 1.1, which it reads, needs a point and a sign in this number; write {_decimal(node.text)}"
            yield Finding("D104", message, node.span, help=advice, severity="warning")


def _scalars(node: Node, path: Path) -> Iterator[tuple[Path, Scalar]]:
    if isinstance(node, Scalar):
        yield path, node
    elif isinstance(node, Mapping):
        for key, child in node.entries.items():
            yield from _scalars(child, (*path, key))
    else:
        for index, child in enumerate(node.nodes):
            yield from _scalars(child, (*path, index))


def _value(file: File, path: Path) -> Plain:
    node = find(file.tree, path)
    return None if node is None else plain(node)


def _dead(file: File, problem: Problem) -> Finding:
    guess = file.guess
    key = str(problem.path[-1])
    fate = FATE["experimental" if guess.document in EXPERIMENTAL else guess.tool][len(problem.path) > 1]
    instead, why = MOVED.get(guess.tool, {}).get(key, (problem.suggestion, ""))
    if problem.path[0] == "fsdp_config" and key.removeprefix("fsdp_") in _OF_FSDP1 and only_fsdp2(file):
        fate = "Axolotl refuses it since 0.21, which has no FSDP1"
    if guess.tool == "axolotl" and key in _STRATEGY and fsdp_version(file) == 1:
        instead, why = _strategy(_value(file, problem.path))
    advice = f"{why}; {fate}" if why else fate
    if "is no longer read" in problem.message:
        advice = why or "delete it, or write what replaces it"
    harmless = guess.tool == "axolotl" and _value(file, problem.path) is None
    wizard = guess.tool == "accelerate" and problem.path[0] == "fp8_config" and key in MOVED["accelerate"]
    if harmless:
        advice = "Axolotl has no such key, and null has no effect either: delete the line"
    message = f"{guess.title}: {dotted(problem.path)}: {problem.message}"
    return Finding(
        "T020", message, file.span(problem.path), instead, advice, "warning" if harmless or wizard else "error"
    )


def _strategy(said: Plain) -> tuple[None, str]:
    """Return what FSDP1 takes instead of a sharding strategy in `fsdp_config`: `reshard_after_forward` would stop it."""
    name = str(said).lower()
    if name in ("full_shard", "1", "none"):
        return None, "FSDP1, which this is, shards in full anyway: delete it"
    return None, f"FSDP1, which this is, takes it as `fsdp: [{name}]`: delete it here"


def _wrong(file: File, node: contracts.Node, problem: Problem) -> Finding:
    node_here = find(file.tree, problem.path)
    message = f"{file.guess.title}: {dotted(problem.path)}: {problem.message}"
    advice = None
    if (
        isinstance(node_here, Scalar)
        and isinstance(node_here.value, str)
        and (_numeric(node) or "a number" in problem.message)
        and _like_number(node_here.text)
    ):
        quoted = (
            node_here.span.source.line(node_here.span.line)[node_here.span.column - 1 : node_here.span.column] in "\"'"
        )
        advice = (
            "without quotes it is a number"
            if quoted
            else f"YAML 1.1, which it reads, treats this as text; write {_decimal(node_here.text)}"
        )
    elif (
        isinstance(node_here, Scalar)
        and isinstance(node_here.value, bool)
        and node_here.text.lower() not in ("true", "false")
    ):
        advice = f"YAML 1.1, which it reads, takes {node_here.text} for {str(node_here.value).lower()}; quote it"
    return Finding("T021", message, file.span(problem.path, value=True), problem.suggestion, advice)


def _numeric(node: contracts.Node) -> bool:
    return bool({"int", "float"} & set(node.get("type", ())))


def _like_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _decimal(text: str) -> str:
    mantissa, _, exponent = text.lower().partition("e")
    sign = exponent[:1] if exponent[:1] in "+-" and exponent else "+"
    whole = mantissa if "." in mantissa else mantissa + ".0"
    return f"{whole}e{sign}{exponent.lstrip('+-')}" if exponent else whole


def _taken(file: File, node: contracts.Node, problem: Problem) -> bool:
    """Return whether the tool takes a value all the same: as text that it reads itself, or as a reference it resolves."""
    value = _value(file, problem.path)
    types = set(node.get("type", ()))
    if isinstance(value, str) and _PLACEHOLDER.search(value):
        return True  # a template puts something else there
    if file.guess.tool == "llamafactory" and isinstance(value, str) and "${" in value:
        return True  # OmegaConf puts something else there
    if file.guess.tool == "trl" and isinstance(value, str) and "list" in types and problem.path[-1] in LISTED:
        return True
    if len(problem.path) not in READS_TEXT.get(file.guess.tool, ()):
        return False
    if file.guess.tool == "deepspeed" and problem.path[-1] == "stage" and value in ("0", "1", "2", "3"):
        return True  # a rule of its own has more to say
    if isinstance(value, str) and (kind(value) not in types or "choices" in node or "patterns" in node):
        if "bool" in types and value.lower() in _TRUTH:
            return True
        if "float" in types and _like_number(value):
            return True
        if "int" in types and (found := number(value)) is not None and float(found).is_integer():
            return True
    if file.guess.tool == "axolotl" and isinstance(value, bool | int | float) and "expected at" not in problem.message:
        whole = isinstance(value, int) or value.is_integer()
        return ("bool" in types and value in (0, 1)) or (whole and "int" in types) or "float" in types
    return False
