"""Rules about the modules that an adapter names, and about one that is trained further."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache

from recipec.bounded import Unbounded, bounded
from recipec.facts.layers import HEADS, adapter_config, modules
from recipec.facts.models import KnownModel, embeddings_of
from recipec.kinds.train.continued import kept_from
from recipec.kinds.train.records import Adapter, Train
from recipec.rules.rule import Context, Fault, rule
from recipec.source import Plain, is_list
from recipec.suggest import nearest

EVERYWHERE = ("all-linear",)
EMBEDDINGS = (
    "embed_tokens",
    "wte",
    "embed_in",
    "word_embeddings",
    "tok_embeddings",
)  # what families call those of the input
ADDED = ("score", "classifier")  # which PEFT adds to an adapter of a reward model by itself
# What a pattern may hold beside names: escapes, sets of characters, and what stands behind a bracket.
_SIGNS = re.compile(r"\\.|\[\^?\]?[^\]]*\]|\(\?[a-zA-Z]*[:=!<>]*|\{[^}]*\}")
_OPTIONAL = re.compile(r"\w[?*]")
_WORD = re.compile(r"[A-Za-z_]\w{2,}")


@rule("L033", "unknown-adapter-target", "error", sources="Axolotl 0.19 accepts any name")
def unknown_target(see: Context, s: Train) -> Iterator[Fault]:
    """Finds a module to adapt, or to train beside an adapter, that the model does not have.

    Why is this bad:
    PEFT looks for the names that it is given and is content with those it finds: with one name misspelt, those layers
    get no adapter, or stay frozen, and no message says so.

    Example:
        model: {base: meta-llama/Meta-Llama-3-8B-Instruct}
        adapter: {rank: 16, targets: [q_proj, vproj]}

    Use instead:
        adapter: {rank: 16, targets: [q_proj, v_proj]}
    """
    known = see.model(s.model.path)
    if known is None or not known.linear or s.adapter is None:
        return
    heads = HEADS if s.method == "reward" else HEADS[:1]
    names = (*known.linear, *embeddings_of(known), *heads)
    whole = modules(known)  # empty where only the last names are known
    there = (*whole, *heads)
    for index, target in enumerate(s.adapter.targets):
        last = target.rsplit(".", 1)[-1]
        layers = not whole or any(one == target or one.endswith(f".{target}") for one in there)
        if target not in EVERYWHERE and (last not in names or not layers):
            message, advice = f'"{target}" is not a layer of {known.id}', f"it has {', '.join(names)}"
            if last in names:
                advice = f"its layers are named such as {there[-len(heads) - 1]}"
            yield Fault(f"adapter.targets[{index}]", message, advice, nearest(target, names))
    for index, name in enumerate(s.adapter.also_train):
        if not whole:
            last = name.rsplit(".", 1)[-1]
            if last in EMBEDDINGS and last not in names:
                message, advice = (
                    f'"{name}" is not a module of {known.id}',
                    f"its embeddings are {names[len(known.linear)]}",
                )
                yield Fault(f"adapter.also_train[{index}]", message, advice, names[len(known.linear)])
        elif not any(one.endswith(name) for one in there):
            parts = dict.fromkeys(one.rsplit(".", 1)[-1] for one in there)
            all_names = [
                one for one in parts if not one.isdigit() and one not in ("model", "layers", "act_fn", "rotary_emb")
            ]
            message, advice = f'"{name}" is not a module of {known.id}', f"it has {', '.join(all_names)}"
            yield Fault(f"adapter.also_train[{index}]", message, advice, nearest(name, all_names))
    if s.adapter.target_pattern is not None and whole:
        yield from _of_pattern(s.adapter, known, there, names)


def _of_pattern(adapter: Adapter, known: KnownModel, there: tuple[str, ...], names: tuple[str, ...]) -> Iterator[Fault]:
    """Yield what is wrong with a pattern of modules."""
    pattern, here = adapter.target_pattern or "", "adapter.target_pattern"
    found = meant(pattern, there)
    if found is None:
        return
    lost = list(_lost(pattern, there))
    for word in lost:
        yield Fault(here, f'no module of {known.id} has "{word}" in its name', f"it has {', '.join(names)}")
    if not found and not lost:
        whole = next(one for one in there if one.endswith(known.linear[0]))
        yield Fault(
            here, f"the pattern matches no module of {known.id}", f"it must match a whole name, such as {whole}"
        )
    other = next((one for one in found if one.rsplit(".", 1)[-1] not in names), None)
    if other is not None and adapter.type == "lora" and not any(other.endswith(one) for one in adapter.also_train):
        message = f"the pattern also matches {other}, which is no linear layer: PEFT refuses it"
        yield Fault(here, message, f"let it end with the names of layers, such as ({'|'.join(known.linear)})")


@lru_cache(maxsize=16)
def meant(pattern: str, there: tuple[str, ...]) -> tuple[str, ...] | None:
    """Return the modules that a pattern matches; None where it is none, or takes too long to tell."""
    try:
        re.compile(pattern)
        return tuple(bounded("recipec.facts.layers:matching", pattern, list(there)))
    except (re.error, RecursionError, OverflowError, Unbounded):
        return None


def _lost(pattern: str, there: tuple[str, ...]) -> Iterator[str]:
    """Yield the words of a pattern that are in no module's name, so that what they stand in can never match."""
    if "(?!" in pattern or "(?<!" in pattern or re.search(r"\(\?\w*i", pattern):
        return
    plain = _OPTIONAL.sub(" ", _SIGNS.sub(" ", pattern))
    whole = " ".join(there)
    for word in dict.fromkeys(_WORD.findall(plain)):
        if word not in whole:
            yield word


@rule(
    "L240", "shape-of-a-continued-adapter", "error", sources="PEFT: PeftModel.from_pretrained takes adapter_config.json"
)
def other_shape(see: Context, s: Train) -> Iterator[Fault]:
    """Finds a rank, an alpha, or modules written for an adapter that is trained further and has others.

    Why is this bad:
    An adapter is loaded as it was saved: its own `adapter_config.json` says its rank and its modules, and what the recipe says beside it
    has no effect. No trainer tells.

    Example:
        model: {base: mistralai/Mistral-7B-Instruct-v0.3}
        adapter: {rank: 64, start_from: adapters/of-mistral}

    Use instead:
        adapter: {rank: 16, start_from: adapters/of-mistral}
    """
    folder = kept_from(see.plan, s) if see.folders else None
    config = adapter_config(folder) if folder is not None else None
    if s.adapter is None or config is None:
        return
    known = see.model(s.model.path)
    there = (*modules(known), HEADS[0]) if known is not None and modules(known) else ()
    for word, name, mine in _shape(s.adapter):
        theirs = config.get(name)
        if not see.said.wrote(f"adapter.{word}") or _same(word, mine, theirs, there, known):
            continue
        message = f"the adapter in {folder} is trained further, and its {word} is {_shown(theirs)}"
        advice = f"write {_shown(theirs)}, or drop it: the adapter keeps its own; for another one, begin a new adapter"
        if theirs is None or theirs == []:
            message = f"the adapter in {folder} is trained further, and has no {word}"
            advice = "drop it: the adapter stays as it is; for another one, begin a new adapter"
        yield Fault(f"adapter.{word}", message, advice, _shown(theirs) if isinstance(theirs, int | float) else None)


def _shape(a: Adapter) -> list[tuple[str, str, object]]:
    """Return each word of the language, PEFT's name of it, and what the recipe has."""
    targets = a.target_pattern if a.target_pattern is not None else list(a.targets)
    return [
        ("type", "peft_type", a.type.upper()),
        ("rank", "r", a.rank),
        ("alpha", "lora_alpha", a.alpha),
        ("dropout", "lora_dropout", a.dropout),
        ("targets" if a.target_pattern is None else "target_pattern", "target_modules", targets),
        ("also_train", "modules_to_save", list(a.also_train)),
        ("dora", "use_dora", a.dora),
        ("rslora", "use_rslora", a.rslora),
    ]


def _same(word: str, mine: object, theirs: Plain, there: tuple[str, ...], known: KnownModel | None) -> bool:
    """Return whether the recipe says what an adapter says of itself, as far as that can be told."""
    if isinstance(mine, bool):
        return mine is (theirs is True)
    if isinstance(mine, int | float):
        return mine == theirs or isinstance(theirs, bool) or not isinstance(theirs, int | float)
    if word == "type":
        return mine == theirs or not isinstance(theirs, str)
    ours, others = _named(mine, there, known), _named(theirs, there, known)
    return mine == theirs or ours is None or others is None or ours == others


def _named(given: object, there: tuple[str, ...], known: KnownModel | None) -> set[str] | None:
    """Return the modules that a list or a pattern means; None where that is not known."""
    if given == list(EVERYWHERE) or given in EVERYWHERE:
        if known is None or not there:
            return None
        return {one for one in there if one.rsplit(".", 1)[-1] in known.linear}
    if isinstance(given, str):
        found = meant(given, there) if there else None
        return set(found) if found is not None else None
    if not is_list(given):
        return set() if given is None else None
    names = [one for one in given if isinstance(one, str) and one not in ADDED]
    if not there:
        return set(names)
    return {one for one in there if any(one == name or one.endswith(f".{name}") for name in names)}


def _shown(value: object) -> str:
    """Return a value as a recipe has it."""
    if is_list(value):
        return f"[{', '.join(sorted(str(one) for one in value))}]"
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)


RULES = (unknown_target, other_shape)
