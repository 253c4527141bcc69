"""LLaMA-Factory's data: `dataset_info.json`, which names and maps every set of rows, and the template that renders them.

Its data folder must hold both the list and what is listed. So `run.sh` puts the list into a folder of the run, with a
link to the folder that the recipe's paths start at. What a set may say is in `llamafactory/data/parser.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, get_args

from recipec.kinds.train.records import DataSource, Train
from recipec.language.model import OtherTemplate
from recipec.systems.check import Check, differs, refuses
from recipec.systems.table import OMIT, Row, choice, constant, flag, made, nonzero, same

FILE = "dataset_info.json"
GROUPS = ("train", "validation")
START = "start"  # the link in the data folder to the folder that paths start at

# The names of the language behind which LLaMA-Factory has a template of its own name that says the same, as its code renders
# it (a conformance test holds them side by side); its other templates have their own names in the language.
TEMPLATES = {
    "chatml": "chatml",
    "llama3": "llama3",
    "mistral_v3_tekken": "ministral",
    "gemma": "gemma",
    "phi_3": "phi",
    "qwen3": "qwen3",
    "alpaca": "alpaca",
    "qwen_25": "qwen",
    "qwen3_5": "qwen3_5",
    "phi_35": "phi",
    "mistral_v2v3": "mistral",
    "gemma3": "gemma3",
    "llama4": "llama4",
    "falcon_h1": "falcon_h1",
    "deepseek_v2": "deepseek3",
    "deepseek_v3": "deepseek3",
    "cohere": "cohere",
    "exaone": "exaone",
    "nemotron_h": "chatml",
    "gemma4": "gemma4",
    **{name: name for name in get_args(OtherTemplate)},
}
# its templates for known tokenizers' own, which it cannot take apart: they refuse an answer without a question
OWN = {"mistral": "mistral", "llama2": "llama2", "gemma": "gemma", "gemma3": "gemma3"}
USUAL = ("chatml", "llama3", "qwen_25", "qwen3", "gemma3", "mistral", "alpaca")  # to be named in advice
WITHOUT_BREAK = ("llama3", "mistral_v3_tekken")  # whose turns end with a token, and no line break behind it
TAGS = {"system": "system_tag", "user": "user_tag", "assistant": "assistant_tag", "tool": "observation_tag"}
# the standard columns behind its names, of rows that are no conversations
COLUMNS = {
    "instruction": {"prompt": "instruction", "query": "input", "response": "output", "system": "system"},
    "completion": {"prompt": "prompt", "response": "completion"},
    "text": {"prompt": "text"},
    "preference": {"prompt": "prompt"},
    "unpaired-preference": {"prompt": "prompt", "response": "completion", "kto_tag": "label"},
}


def sources_of(s: Train) -> tuple[DataSource, ...]:
    """Return everything that a stage reads."""
    return (*s.data.train, *s.data.validation)


def _placed(s: Train) -> Iterator[tuple[str, DataSource]]:
    """Yield the sources of a stage, each with its plan path."""
    for group in GROUPS:
        for index, source in enumerate(getattr(s.data, group)):
            yield f"data.{group}.{index}", source


def _talks(source: DataSource) -> bool:
    """Return whether its rows are conversations."""
    return source.format == "chat" or (source.format == "preference" and "messages" in source.columns)


def rows(s: Train) -> tuple[Row, ...]:
    """Return the rows of `dataset_info.json`: one for each data set."""
    found: list[Row] = []
    for group in GROUPS:
        sources = getattr(s.data, group)
        for name, index in _names(group, [source.weight for source in sources]):
            found.append(_row(name, f"data.{group}.{index}", sources[index]))
    return tuple(found)


def _row(name: str, at: str, source: DataSource) -> Row:
    """Return the row of one data set: the source at a plan path."""
    leaves = ["hub", "split", "subset"] if source.path is None else ["path", "split"]
    leaves += ["format", "columns", *["roles"][: _talks(source)]]
    return made(
        name, lambda *given: _entry(dict(zip(leaves, given, strict=True))), *(f"{at}.{leaf}" for leaf in leaves)
    )


def _names(group: str, weights: Sequence[int]) -> list[tuple[str, int]]:
    """Return the names of a group's data sets, each with its source's place; a weight of n makes n of them."""
    return [
        (f"{group}-{index + 1}" + (f"-copy-{copy + 1}" if copy else ""), index)
        for index, weight in enumerate(weights)
        for copy in range(weight)
    ]


def _entry(source: Mapping[str, Any]) -> dict[str, Any]:
    """Return one data set of `dataset_info.json`; a source has `roles` where its rows are conversations."""
    path, columns, form = source.get("path"), source["columns"], source["format"]
    if path is not None:
        row: dict[str, Any] = {
            "file_name": path if path.startswith("/") else f"{START}/{path}",
            "split": source["split"],
        }
    else:
        row = {"hf_hub_url": source["hub"], "split": source["split"]}
        row |= {"subset": source["subset"]} if source["subset"] is not None else {}
    if "roles" in source:
        row |= {"formatting": "sharegpt", "columns": {"messages": columns["messages"]}}
        row["tags"] = {"role_tag": columns["role"], "content_tag": columns["content"]}
        row["tags"] |= {tag: source["roles"].get(role, (role,))[0] for role, tag in TAGS.items()}
    else:
        row["formatting"] = "alpaca"
        row["columns"] = {key: columns[name] for key, name in COLUMNS[form].items() if name in columns}
    if form == "preference":
        row["ranking"] = True
        row["columns"] |= {"chosen": columns["chosen"], "rejected": columns["rejected"]}
    return row


def settings(s: Train) -> tuple[Row, ...]:
    """Return what `llamafactory.yaml` says of the data."""
    return (
        same("dataset_dir", "data.cache", f"run.sh puts {FILE} there"),
        _listed("dataset", "train", s),
        _listed("eval_dataset", "validation", s),
        nonzero("val_size", "data.holdout"),
        *_template(s),
        made("default_system", _system, "data.train.*.system", "data.validation.*.system"),
        same("cutoff_len", "model.max_length"),
        choice("train_on_prompt", "data.train_on", {"all": True}).when("method", "sft"),
        # pre-training packs unless it is told not to, and only untold in blocks of cutoff_len
        choice("packing", "data.packing", {False: False}).when("method", "pretrain"),
        flag("packing", "data.packing").unless("method", "pretrain"),
        flag("neat_packing", "data.packing", "attention stays within a row").when("method", "sft"),
        flag("streaming", "data.streaming"),
        choice("disable_shuffling", "data.shuffle", {False: True}),
        choice("train_sampling_strategy", "data.group_by_length", {True: "group_by_length"})
        .when("method", "sft", "pretrain")
        .unless("data.streaming", True),
    )


def _listed(key: str, group: str, s: Train) -> Row:
    """Return the row of the names of a group's data sets."""
    weights = (f"data.{group}.{index}.weight" for index in range(len(getattr(s.data, group))))

    def say(*given: Any) -> Any:
        return ",".join(name for name, _ in _names(group, given)) or OMIT

    return made(key, say, *weights)


def _system(*groups: tuple[str | None, ...] | None) -> Any:
    """Return the system prompt that all sources share; a check refuses several."""
    said = dict.fromkeys(one for group in groups for one in group or ())
    return next(iter(said), None) or OMIT


def _template(s: Train) -> Iterator[Row]:
    """Yield what chooses the one template that renders every row; left out, it is taken from the tokenizer."""
    yield constant("template", "empty").when("method", "pretrain")
    named = {name: own for name, own in TEMPLATES.items() if name != "alpaca"}
    first: dict[str, str] = {}  # by LLaMA-Factory's name, that of the language
    for name, own in named.items():
        first.setdefault(own, name)
    yield made(
        "template",
        lambda name: named.get(name, OMIT),
        "model.chat_template",
        # `empty` may be what the rows below chose
        back=lambda own: {"model.chat_template": first[own]} if own in first and own != "empty" else {},
    ).unless("method", "pretrain")
    # read back, it may be what the rows below chose
    yield constant("template", "alpaca").when("model.chat_template", "alpaca").unless("method", "pretrain")
    if any(source.turns for source in sources_of(s)):
        own = made("template", lambda name: OWN.get(name, OMIT), "model.template")
        yield own.when("model.chat_template", "tokenizer").unless("method", "pretrain")
    else:
        formats = [f"{at}.format" for at, _source in _placed(s)]
        plain = made("template", lambda *given: "alpaca" if _instructing(*given) else "empty", *formats)
        yield plain.when("model.chat_template", "tokenizer").unless("method", "pretrain")


CHECKS: tuple[Check, ...] = (
    refuses(
        "model.chat_template",
        when=lambda name: name != "tokenizer" and name not in TEMPLATES,
        message=lambda name: f"LLaMA-Factory has no template like {name}",
        advice=f"use one of {', '.join(USUAL)}, or another of its own by name",
    ).unless("method", "pretrain"),
    refuses(
        "data.holdout",
        when=lambda share: share == 1,
        message="LLaMA-Factory takes 1 for all rows, not for one",
        advice="hold out 2 rows or a percentage",
    ),
    refuses(
        "data.holdout",
        when=lambda share: isinstance(share, float),
        message="streamed rows cannot be held out by percentage",
        advice="hold out a number of rows",
    ).when("data.streaming"),
    refuses(
        "data.shuffle",
        when=lambda shuffle: not shuffle,
        message="LLaMA-Factory always shuffles what it streams",
        advice="drop shuffle or streaming",
    ).when("data.streaming"),
    differs(
        "data.workers",
        when=lambda workers: workers == 0,
        message="LLaMA-Factory streams with at least one worker",
        advice="use workers: 1",
        said="other",
    ).when("data.streaming"),
    differs(
        "data.packing",
        when=bool,
        message="LLaMA-Factory joins texts and cuts them at max_length; they attend to one another",
        advice="drop packing where that matters",
    ).when("method", "pretrain"),
    differs(
        "method",
        when=lambda method: method == "pretrain",
        message=(
            "LLaMA-Factory trains the EOS token behind a text only where the padding token is another one, and begins texts "
            "with a BOS token only where the tokenizer has add_bos_token"
        ),
        advice="see that tokenizer_config.json has a pad_token of its own",
    ),
)


def checks(s: Train) -> tuple[Check, ...]:
    """Return what it cannot do with the data of a stage, or does another way."""
    placed = list(_placed(s))
    talking = [(at, source) for at, source in placed if source.turns]
    others = [at for at, source in placed if not source.turns]
    found = [check for at, source in placed for check in _of_source(at, source)]
    if talking:
        found += _of_turns(*next((one for one in talking if _talks(one[1])), talking[0]))
        found += _beside_turns(others)
    else:
        found += _of_other_rows([f"{at}.format" for at in others])
    return (*CHECKS, *found)


def _of_source(at: str, source: DataSource) -> Iterator[Check]:
    """Yield what it cannot do with the source at a plan path."""
    yield refuses(
        f"{at}.format",
        "method",
        when=lambda form, _method: form == "text",
        message=lambda _form, method: f"{method} of LLaMA-Factory has no rows of plain text",
        advice="use method: pretrain for them",
    ).unless("method", "pretrain")
    yield refuses(
        f"{at}.revision",
        when=lambda revision: revision is not None,
        message="LLaMA-Factory takes hub data as it is now, not at a revision",
        advice="drop revision, or download that revision and give its path",
    )
    yield refuses(
        f"{at}.system",
        "data.train.*.system",
        when=lambda own, every: len({own, *every}) > 1,
        message="LLaMA-Factory has one system prompt for all data",
        advice="say the same in every source, or give the rows a system column",
    )
    if _talks(source):
        yield refuses(
            f"{at}.roles",
            when=lambda roles: any(len(names) > 1 for names in roles.values()),
            message=lambda roles: (
                f"LLaMA-Factory accepts one name for a role, not {next(', '.join(n) for n in roles.values() if len(n) > 1)}"
            ),
            advice="give one name, or rename the roles in the data",
        )


SPACED = ("mistral", "llama2")  # its templates that put a space before an answer, which carries loss
# templates of others that cut off space around a turn, which its own keep
TRIMMING = frozenset(["llama3", "gemma", "gemma3", "mistral", "llama2"])


def _spaced(name: str | None) -> bool:
    return (OWN.get(name or "") or TEMPLATES.get(name or "")) in SPACED


def _of_turns(at: str, first: DataSource) -> Iterator[Check]:
    """Yield what it does another way with turns, of which the first stand at a plan path."""
    place = f"{at}.{'hub' if first.path is None else 'path'}"
    if _talks(first):
        yield differs(
            place,
            when=lambda _place: True,
            message="LLaMA-Factory leaves out conversations in which user and assistant do not alternate",
            advice="see that the conversations alternate and end with an answer",
        ).of_rows("odd turns")
    yield (
        differs(
            place,
            "model.template",
            when=lambda _place, name: not _spaced(name),
            message="a line break that LLaMA-Factory's template puts behind an answer carries loss",
            advice="nothing need be done: the model learns to write it, and whatever serves it stops at the token before",
        )
        .unless("model.template", *WITHOUT_BREAK)
        .in_passing()
    )
    yield differs(
        place,
        "model.template",
        when=lambda _place, name: _spaced(name),
        message="the space that LLaMA-Factory's template puts before an answer carries loss",
        advice="nothing need be done: the model learns to write it",
    ).in_passing()
    yield (
        differs(
            place,
            "model.template",
            when=lambda _place, name: name in TRIMMING,
            message=lambda _place, name: (
                f"LLaMA-Factory keeps space around what a turn says, which {name} cuts off elsewhere"
            ),
            advice="see that no turn begins or ends with space",
        )
        .of_rows("blanks")
        .in_passing()
    )
    yield (
        differs(
            "model.turn_end",
            when=lambda end: end is not None,
            message=lambda end: f"LLaMA-Factory keeps the tokenizer's EOS token: generation does not stop at {end}",
            advice=f"name the template: {', '.join(USUAL)}, or another",
        )
        .when("model.chat_template", "tokenizer")
        .unless("model.template", *OWN)
    )
    yield differs(
        "model.chat_template",
        "model.template",
        when=lambda _name, own: own not in OWN,
        message="LLaMA-Factory rebuilds the tokenizer's template from single turns, which not every template allows",
        advice=f"name it: {', '.join(USUAL)}, or another",
    ).when("model.chat_template", "tokenizer")


def _beside_turns(others: list[str]) -> Iterator[Check]:
    """Yield how it renders rows that are no turns, at plan paths, beside others that are."""
    for at in others:
        yield differs(
            f"{at}.format",
            when=lambda _form: True,
            message=lambda form: (
                f"LLaMA-Factory renders every row as turns of one template, those of format {form} too"
            ),
            advice="train on them in a stage of their own, or use another trainer",
        )


def _instructing(*formats: object) -> bool:
    return set(formats) == {"instruction"}


def _not_instructing(*formats: object) -> bool:
    return not _instructing(*formats)


def _of_other_rows(formats: list[str]) -> Iterator[Check]:
    """Yield how it renders rows without turns another way; `formats` are the plan paths of their formats."""
    yield differs(
        "model.chat_template",
        when=lambda name: name in TEMPLATES and name != "alpaca",
        message=lambda name: f"LLaMA-Factory renders every row as turns of the template {name}, not as plain text",
        advice="drop chat_template where plain text is meant",
    ).unless("method", "pretrain")
    for when, message, advice in (
        (
            _instructing,
            "LLaMA-Factory's alpaca template has no BOS token, writes the input below the instruction without a heading of its own, and "
            "trains a line break behind the answer",
            "name a chat template to have turns instead",
        ),
        (
            _not_instructing,
            "plain text has no BOS and no EOS token in LLaMA-Factory: where to stop is not learnt",
            "name a chat template, such as model.chat_template: chatml",
        ),
    ):
        plain = differs(*formats, when=when, message=message, advice=advice)
        yield plain.when("model.chat_template", "tokenizer", "alpaca").unless("method", "pretrain")
