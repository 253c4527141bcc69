"""Located tree to `Recipe`: every mistake of shape becomes a finding at the exact key or value."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from math import isfinite
from typing import TYPE_CHECKING, Any, NamedTuple

from pydantic import BaseModel, ValidationError

from recipec.diagnostics import MOST, Finding
from recipec.language import Recipe
from recipec.source import (
    Items,
    Mapping,
    Node,
    Path,
    Plain,
    Scalar,
    Span,
    beginning,
    child,
    dotted,
    find,
    key_span,
    leaves,
    plain,
)

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo
    from pydantic_core import ErrorDetails

    from recipec.slips import Wanted

# What other tools call our words.
SYNONYMS = {
    "batch": "batch_size",
    "global_batch_size": "batch_size",
    "train_batch_size": "batch_size",
    "per_device_train_batch_size": "micro_batch_size",
    "micro_batch": "micro_batch_size",
    "gradient_accumulation_steps": "gradient_accumulation",
    "grad_accum": "gradient_accumulation",
    "lr": "learning_rate",
    "lr_scheduler": "scheduler",
    "lr_scheduler_type": "scheduler",
    "optim": "optimizer",
    "num_epochs": "epochs",
    "num_train_epochs": "epochs",
    "max_steps": "steps",
    "warmup_ratio": "warmup",
    "warmup_steps": "warmup",
    "adam_beta1": "beta1",
    "adam_beta2": "beta2",
    "adam_epsilon": "epsilon",
    "max_seq_length": "max_length",
    "max_seq_len": "max_length",
    "sequence_len": "max_length",
    "cutoff_len": "max_length",
    "base_model": "base",
    "model_name_or_path": "base",
    "attn_implementation": "attention",
    "load_in_4bit": "load_in",
    "lora_r": "rank",
    "r": "rank",
    "lora_alpha": "alpha",
    "lora_dropout": "dropout",
    "lora_target_modules": "targets",
    "target_modules": "targets",
    "modules_to_save": "also_train",
    "val_set_size": "holdout",
    "sample_packing": "packing",
    "save_steps": "save",
    "eval_steps": "evaluate_every",
    "logging_steps": "log_every",
    "bf16": "precision",
    "gpus": "per_node",
    "num_gpus": "per_node",
    "num_fewshot": "few_shot",
}

_EXPECTED = {
    "int_type": "a whole number",
    "float_type": "a number",
    "string_type": "text",
    "bool_type": "true or false",
    "list_type": "a list",
    "dict_type": "a mapping of keys and values",
    "model_type": "a mapping of keys and values",
}
_FREE = ("description", "pattern", "target_pattern")  # texts in which any character may be meant
_OPENING, _CLOSING, _COMMAS = "\u2018\u201a\u201b\u201c\u201e\u201f", "\u2018\u2019\u201c\u201d", "\uff0c\u3001"
_USUAL = {  # where a value is far outside of what is possible
    "learning_rate": "1e-6 to 1e-3 is usual; most often the exponent is lost",
    "weight_decay": "0 to 0.1 is usual",
    "temperature": "0.6 to 1.0 is usual; at 0 all completions of a prompt are the same",
}
_BOUNDS = {
    "greater_than": "above",
    "greater_than_equal": "at least",
    "less_than": "below",
    "less_than_equal": "at most",
}
PERCENT = r"^(100(\.0+)?|[0-9]{1,2}(\.[0-9]+)?)%$"
_PATTERNS = {  # how people say what a pattern of the language means
    PERCENT: "a percentage such as 2%",
    r"^[a-z0-9][a-z0-9._-]{0,99}$": "lower-case letters, digits, `.`, `_` and `-`, beginning with a letter or digit",
    r"^[a-z0-9][a-z0-9_-]{0,99}$": "lower-case letters, digits, `_` and `-`, beginning with a letter or digit",
    r"^[0-9]{1,4}(\.[0-9]+)? ?(GB|GiB|G)$": "an amount of memory such as 48GB",
    r"^[A-Za-z_][A-Za-z0-9_]*$": "the name of an environment variable: letters, digits and `_`",
    r"^[^\W\d]\w*$": "the name of a Python function",
    r"^[^-]": "a path that does not begin with `-`, such as ./-x.py",
}


class Bound(NamedTuple):
    """What a tree says. `recipe` is None when too little of it is right to go on.

    A recipe beside findings lacks what they speak of: unknown keys, and the values at `wrong`. Later checks can still
    speak, but not of what they would have read there.
    """

    recipe: Recipe | None
    findings: list[Finding]
    wrong: tuple[Path, ...] = ()


def bind(tree: Node, may_lack: Callable[[Path], bool] | None = None) -> Bound:
    """Validate the tree against the language. A key that is missing where `may_lack` says so is no finding."""
    data = plain(tree)
    unfit = _unfit(tree)
    findings = unfit
    wrong: list[Path] = []
    for attempt in range(3):
        try:
            return Bound(Recipe.model_validate(data), findings, tuple(wrong))
        except ValidationError as error:
            details = error.errors(include_url=False)
        if may_lack is not None:
            details = [d for d in details if d["type"] != "missing" or not may_lack(_real_path(tree, d)[0])]
        if attempt == 0:
            findings = _findings(tree, details)
            told = {finding.span for finding in findings}
            findings += [finding for finding in unfit if finding.span not in told]
        if any(detail["type"] == "missing" for detail in details):
            break
        for detail in details:
            path = _remove(data, _real_path(tree, detail)[0])
            if detail["type"] != "extra_forbidden":
                wrong.append(path)
    return Bound(None, findings)


def _unfit(tree: Node) -> list[Finding]:
    """Name what YAML can say but no file, path or variable of a tool can hold, wherever it stands."""
    found: list[Finding] = []
    for path, node in leaves(tree):
        value = node.value if isinstance(node, Scalar) else None
        if isinstance(value, float) and not isfinite(value):
            message = f"{dotted(path)} cannot be {_got(node)}"
            found.append(Finding("R006", message, node.span, help="expected a finite number"))
        if "\0" in "".join(map(str, (value, *path))):
            message = f"{dotted(path)} holds the character U+0000"
            found.append(Finding("R006", message, key_span(tree, path) or node.span, help="delete it"))
        if isinstance(value, str) and not value.isascii() and path[0] != "overrides":
            found += _typographic(path, value, node.span)
    return found


def _typographic(path: Path, value: str, span: Span) -> Iterator[Finding]:
    """Name quotes and commas that YAML does not know, where they are part of a name or a path."""
    if path[-1] not in _FREE and value[0] in _OPENING and value[-1] in _CLOSING:
        message = f"{dotted(path)} holds typographic quotes: YAML takes them for part of the text"
        yield Finding("R006", message, span, help="write plain quotes: \" or '; or none")
    if isinstance(path[-1], int) and any(comma in value for comma in _COMMAS):
        message = f"{dotted(path)} is one text: YAML takes this comma for part of it"
        yield Finding("R006", message, span, help='write a plain comma: ","')


def _remove(data: Plain, path: Path) -> Path:
    """Take a value out of the data, where it still stands, and a list as a whole; return the path of what is gone."""
    while path and isinstance(path[-1], int):
        path = path[:-1]
    for step in path[:-1]:
        data = data.get(str(step)) if isinstance(data, dict) else data[int(step)] if isinstance(data, list) else None
    if path and isinstance(data, dict):
        data.pop(str(path[-1]), None)
    return path


def _findings(tree: Node, details: list[ErrorDetails]) -> list[Finding]:
    """Group the errors of one value (a union reports one for each of its members) and word each group once."""
    groups: dict[Path, list[ErrorDetails]] = {}
    for detail in details:
        path, on_key = _real_path(tree, detail)
        groups.setdefault((*path, "[key]") if on_key else path, []).append(detail)
    # where something inside is wrong, a member of a union fits, and that others do not says nothing
    inside = {path[:length] for path in groups for length in range(1, len(path))}
    kept = {path: group for path, group in groups.items() if path not in inside or not _of_type(group)}
    cut = {key: number for key in kept if (number := _cut_number(tree, key)) is not None}
    whole = {_before(tree, key) for key in cut}  # what was taken for the value is half of one
    others = ((path, group) for path, group in kept.items() if path not in cut and path not in whole)
    found = [_finding(tree, path, group) for path, group in islice(others, MOST + 1)]  # each looks for what was meant
    return found + [_comma(tree, key, number) for key, number in cut.items()]


def _before(tree: Node, path: Path) -> Path:
    """Return the path of the entry that stands before another in its mapping."""
    parent = find(tree, path[:-1])
    names = list(parent.entries) if isinstance(parent, Mapping) else []
    index = names.index(str(path[-1])) if path and str(path[-1]) in names else 0
    return (*path[:-1], names[index - 1]) if index else ()


def _cut_number(tree: Node, path: Path) -> str | None:
    """Return the number that a decimal comma within braces has cut in two, where the key at `path` is its second half."""
    if not path or not str(path[-1])[:1].isdigit():
        return None
    from recipec.slips import split_by_comma

    before, at = find(tree, _before(tree, path)), key_span(tree, path)
    return split_by_comma(str(path[-1]), before if isinstance(before, Scalar) else None, at) if at else None


def _comma(tree: Node, path: Path, number: str) -> Finding:
    before = _before(tree, path)
    text = number.replace(".", ",", 1)
    message = f"{dotted(before)} cannot be {text}: within braces a comma separates keys"
    node, end = find(tree, before), key_span(tree, path)
    assert isinstance(node, Scalar)
    assert end is not None
    span = node.span._replace(end_line=end.end_line, end_column=end.end_column)
    field = _fields(before[:-1]).get(str(before[-1]))
    want = _wanted(field) if field is not None else None
    ways = [f"{number}, with a point"] if want is None or not want.whole or number.endswith("%") else []
    if (len(str(path[-1])) == 3 and not number.startswith("0")) or not ways:
        ways.append(text.replace(",", ""))
    return Finding("R004", message, span, help=f"write {' or '.join(ways)}")


def _of_type(group: list[ErrorDetails]) -> bool:
    """Return whether a value is only told to be of the wrong type."""
    return all(detail["type"] in _EXPECTED or detail["type"] == "literal_error" for detail in group)


def _real_path(tree: Node, detail: ErrorDetails) -> tuple[Path, bool]:
    """Return where the error is, without the union tags that pydantic puts between, and whether it is in a key."""
    path: list[str | int] = []
    node = tree
    location = detail["loc"]
    on_key = bool(location) and location[-1] == "[key]"
    for index, step in enumerate(location[:-1] if on_key else location):
        below = child(node, step)
        if below is not None:
            path.append(step)
            node = below
        elif detail["type"] == "missing" and index == len(location) - 1:
            path.append(step)
    return tuple(path), on_key


def _finding(tree: Node, path: Path, group: list[ErrorDetails]) -> Finding:
    kinds = {detail["type"] for detail in group}
    if path and path[-1] == "[key]":
        path = path[:-1]
        context = group[0].get("ctx", {})
        names = context.get("expected") or _PATTERNS.get(context.get("pattern", ""), "another name")
        return Finding(
            "R007", f'"{path[-1]}" cannot be a key of {dotted(path[:-1])}', _key(tree, path), help=f"expected {names}"
        )
    if "extra_forbidden" in kinds:
        return _unknown_key(tree, path)
    if "missing" in kinds:
        parent = path[:-1]
        where = f"{dotted(parent)} needs" if parent else "the recipe needs"
        field = _fields(parent).get(str(path[-1]))
        meaning = field.description if field is not None and field.description else ""
        return Finding("R002", f"{where} the key `{path[-1]}`", _key(tree, parent), help=f"{path[-1]}: {meaning}")
    node = find(tree, path)
    got = _got(node)
    name = dotted(path)
    # a member of a union whose type fits says more than one whose type does not
    closer = [detail for detail in group if detail["type"] not in _EXPECTED and detail["type"] != "literal_error"]
    told = closer or group
    field = _fields(path[:-1]).get(str(path[-1])) if path else None
    expected = " or ".join(dict.fromkeys(_expected(detail, field) for detail in told))
    code = "R005" if closer else "R003" if kinds == {"literal_error"} else "R004"
    suggestion = None
    choices = [choice for detail in group for choice in _choices(detail)]
    if isinstance(node, Scalar) and choices:
        from recipec.suggest import nearest

        suggestion = nearest(str(node.text), choices)
    return Finding(
        code,
        f"{name} cannot be {got}",
        _value(tree, path),
        suggestion,
        f"expected {expected}{_hint(node, path, kinds, field)}",
    )


def _expected(detail: ErrorDetails, field: FieldInfo | None) -> str:
    kind, context = detail["type"], detail.get("ctx", {})
    if kind == "string_type" and field is not None and _wanted(field).percent:
        return _PATTERNS[PERCENT]
    if kind in _EXPECTED:
        return _EXPECTED[kind]
    if kind == "literal_error":
        choices = _choices(detail)
        return ("one of " if len(choices) > 1 else "") + ", ".join(choices)
    if kind in _BOUNDS:
        bound = context[
            {"greater_than": "gt", "greater_than_equal": "ge", "less_than": "lt", "less_than_equal": "le"}[kind]
        ]
        return (
            f"a number {_BOUNDS[kind]} {bound:g}" if isinstance(bound, float) else f"a number {_BOUNDS[kind]} {bound}"
        )
    if kind == "string_pattern_mismatch":
        return _PATTERNS.get(context["pattern"], f"text that matches {context['pattern']}")
    if kind in ("string_too_short", "too_short"):
        return "something that is not empty"
    return str(detail["msg"])[:1].lower() + str(detail["msg"])[1:]


def _choices(detail: ErrorDetails) -> list[str]:
    if detail["type"] != "literal_error":
        return []
    text = str(detail.get("ctx", {})["expected"]).replace(" or ", ", ")
    return [choice.strip("'") for choice in text.split(", ")]


def _got(node: Node | None) -> str:
    if isinstance(node, Mapping):
        return "a mapping"
    if isinstance(node, Items):
        return "a list"
    if node is None or node.value is None:
        return "empty"
    if isinstance(node.value, str):
        return f'the text "{node.value if len(node.value) <= 60 else node.value[:57] + "…"}"'
    return node.text if len(node.text) <= 60 else node.text[:57] + "…"


def _hint(node: Node | None, path: Path, kinds: set[str], field: FieldInfo | None) -> str:
    if not isinstance(node, Scalar):
        return ""
    if node.value is None:
        from recipec.language.defaults import without

        words = without(path)
        return f"; left out, {words}" if words else ""
    text = node.value
    if isinstance(text, str) and "bool_type" in kinds and text.lower() in ("yes", "no", "on", "off"):
        return f"; YAML 1.2 reads {text} as text"
    if field is None:  # a value below a key of one's own
        return "; put it in quotes" if kinds == {"string_type"} else ""
    from recipec.slips import slip

    words = slip(node.value, node.text, _wanted(field)) or (
        _USUAL.get(str(path[-1]), "") if kinds & _BOUNDS.keys() else ""
    )
    return f"; {words}" if words else ""


def _wanted(field: FieldInfo) -> Wanted:
    from recipec.slips import wanted

    return wanted(field.annotation, field.metadata)


def _unknown_key(tree: Node, path: Path) -> Finding:
    from recipec.suggest import nearest

    parent, word = path[:-1], str(path[-1])
    names = sorted(_fields(parent))
    if not word.isascii():
        from recipec.slips import ascii_of

        word = ascii_of(word).strip("\"' ")
    synonym = SYNONYMS.get(word)
    suggestion = (
        word
        if word in names
        else synonym
        if synonym in names
        else nearest(word, names, 0.66 if len(word) == 3 else 0.7)
    )  # gqu is gpu
    advice = "allowed here: " + ", ".join(names)
    if suggestion is None:
        homes = [section for section in _sections() if (synonym or word) in _fields((section,))]
        if homes:
            advice = f"`{synonym or word}` belongs under `{homes[0]}`"
    where = f" in {dotted(parent)}" if parent else ""
    return Finding("R001", f'unknown key "{path[-1]}"{where}', _key(tree, path), suggestion, advice)


def _sections() -> list[str]:
    return [name for name in Recipe.model_fields if _fields((name,))]


def _fields(path: Path) -> dict[str, Any]:
    """Return the fields that the language allows below `path`."""
    model: Any = Recipe
    for step in path:
        if isinstance(step, int):
            continue
        field = model.model_fields.get(step) if model is not None else None
        model = _model_in(field.annotation) if field is not None else None
    return dict(model.model_fields) if model is not None else {}


def _model_in(annotation: object) -> type[BaseModel] | None:
    members: tuple[object, ...] = getattr(annotation, "__args__", ())
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for member in members:
        found = _model_in(member)
        if found is not None:
            return found
    return None


def _key(tree: Node, path: Path) -> Span:
    span = key_span(tree, path) if path else None
    if span is not None:
        return span
    return beginning(tree)


def _value(tree: Node, path: Path) -> Span:
    node = find(tree, path)
    if isinstance(node, Scalar) and (node.text or node.value is not None):
        return node.span
    return _key(tree, path)
