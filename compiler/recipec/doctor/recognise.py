"""Which tool a file is for: by the keys that only one tool reads, by the words of a script, or as the person says."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from recipec import contracts
from recipec.facts import pinned, releases

TITLES = {
    "axolotl": "Axolotl",
    "llamafactory": "LLaMA-Factory",
    "trl": "TRL",
    "deepspeed": "DeepSpeed",
    "accelerate": "accelerate",
    "lm_eval": "lm-eval",
    "script": "launch script",
}
# Methods of `trl.experimental`: no command of TRL, but scripts whose files have the same keys.
EXPERIMENTAL = ("orpo", "cpo", "bco", "gkd", "online_dpo", "ppo", "prm")
DOCUMENTS: dict[str, tuple[str, ...]] = {
    "axolotl": ("config",),
    "llamafactory": ("config", "dataset_info"),
    "trl": ("sft", "dpo", "grpo", "kto", "reward", "rloo", *EXPERIMENTAL),
    "deepspeed": ("ds_config",),
    "accelerate": ("config",),
    "lm_eval": ("config",),
}
SCRIPTS = (".sh", ".bash", ".slurm", ".sbatch", ".job", ".run")
NAMES = {"simpo": "cpo", "rm": "reward", "onlinedpo": "online_dpo"}  # what else people call a document
SAYING = ("output_dir", "run_name", "hub_model_id")  # values that name the method more often than not
TRAINERS = ("axolotl", "llamafactory", "trl")  # their pins say which DeepSpeed and accelerate run beside them
IN_JSON = ("deepspeed",)  # whose file is JSON
NAMING = ("deepspeed", "accelerate_config")  # keys of a trainer that name a file of another tool
ENOUGH = 1.0  # a key that only one tool reads, or several that few read
ROWS = {"file_name", "hf_hub_url", "ms_hub_url", "script_url", "cloud_file_name"}

# Keys that a tool read once, and those that only files of a project built on it have: they are no less a mark of it.
ONCE = {
    "trl": {"max_seq_length", "max_prompt_length", "torch_dtype", "dataset_mixer", "dataset_mixture", "script_args"},
    "axolotl": {"base_model_config", "load_in_4bit_use_double_quant"},
}
# Configurations of tools that doctor does not check, by what only they have.
STRANGERS: dict[str, Callable[[Mapping[str, Any]], bool]] = {
    "torchtune": lambda values: any(isinstance(v, Mapping) and "_component_" in v for v in values.values()),
    "Oumi": lambda values: isinstance(values.get("model"), Mapping) and "model_name" in values["model"],
    "verl": lambda values: "actor_rollout_ref" in values,
    "SkyPilot": lambda values: "resources" in values and "run" in values,
    "Kubernetes": lambda values: "apiVersion" in values and "kind" in values,
    "a recipe of recipec": lambda values: "recipe" in values and "name" in values,
}


class Guess(NamedTuple):
    """What a file is: the tool ("script" for a launch script), its release, which of its documents, and how one knows."""

    tool: str
    release: str
    document: str
    because: str

    @property
    def title(self) -> str:
        """`Axolotl 0.19.0`, as it is shown."""
        release = f" {self.release}" if self.release else ""
        command = f" ({self.document})" if self.tool == "trl" or self.document == "dataset_info" else ""
        if self.document in EXPERIMENTAL:
            command = f" ({self.document}, of trl.experimental)"
        return f"{TITLES[self.tool]}{release}{command}"


def latest(tool: str) -> str:
    """Return the release that a tool's files are taken for: recipec's default, else the newest that has a contract.

    A script has none.
    """
    if tool == "script":
        return ""
    known = contracts.releases(tool)
    return next((release for release in releases(tool) if release in known), known[-1])


def named(text: str) -> tuple[str, str, str]:
    """Read `TOOL` or `TOOL-RELEASE`, of TRL with the method (`trl:orpo`). Raises ValueError with what there is."""
    text, _, document = text.partition(":")
    document = document.strip().lower()
    folded = (
        re.sub(r"[\s_]+", "-", text.strip().lower())
        .replace("llama-factory", "llamafactory")
        .replace("lm-eval", "lm_eval")
    )
    tool, _, release = folded.partition("-")
    if tool not in TITLES or (tool == "script" and release):
        raise ValueError(f"no tool {text!r}; doctor knows {', '.join(TITLES)}")
    if release and release not in contracts.releases(tool):
        raise ValueError(f"no release {release} of {TITLES[tool]}; there is {', '.join(contracts.releases(tool))}")
    there = _documents(tool, release or latest(tool))
    if document and document not in there:
        raise ValueError(f"no {document} of {TITLES[tool]}; there is {', '.join(there)}")
    return tool, release, document


def _documents(tool: str, release: str) -> list[str]:
    """Return the documents that a release of a tool has."""
    if tool not in DOCUMENTS:
        return []
    contract = contracts.load(tool, release)
    return [document for document in DOCUMENTS[tool] if document in contract.documents]


def is_script(file: str, text: str) -> bool:
    """Return whether a file is a shell script, by its name or its first line."""
    first = text.split("\n", 1)[0]
    return file.endswith(SCRIPTS) or bool(re.match(r"#!.*\b(?:ba|z|da)?sh\b", first)) or first.startswith("#SBATCH")


def stranger(values: Mapping[str, Any]) -> str | None:
    """Return the name of another tool that a file is plainly for."""
    return next((name for name, is_it in STRANGERS.items() if is_it(values)), None)


def recognise(file: str, values: Mapping[str, Any], wanted: tuple[str, str, str] | None = None) -> Guess | None:
    """Return what a file is, or None. Keys that few tools read count more; `wanted` overrules tool and release."""
    if wanted is not None:
        tool, release, document = wanted
        release = release or latest(tool)
        return Guess(tool, release, document or _document(tool, release, file, values), "as --as says")
    if values and all(isinstance(row, Mapping) and ROWS & row.keys() for row in values.values()):
        return Guess("llamafactory", latest("llamafactory"), "dataset_info", "every entry names a source of rows")
    known = {tool: _keys(tool) for tool in DOCUMENTS}
    weight = {key: 1 / max(1, sum(key in keys for keys in known.values())) for key in values}
    scores = {tool: sum(weight[key] for key in values if key in keys) for tool, keys in known.items()}
    best = max(scores, key=lambda tool: scores[tool])
    # What reads YAML is rarely given JSON, in which any program keeps its own settings.
    least = 2 if file.endswith(".json") and best not in IN_JSON else 4
    if scores[best] < ENOUGH or least * sum(key in known[best] for key in values) < len(values):
        return None
    own = [key for key in values if key in known[best] and weight[key] == 1]
    because = f"{TITLES[best]} reads {_few(own)}" if own else f"{TITLES[best]} reads most of its keys"
    return Guess(best, latest(best), _document(best, latest(best), file, values), because)


def beside(files: list[tuple[str, Guess, Any]]) -> list[Guess]:
    """Give DeepSpeed, accelerate and lm-eval the releases that are pinned beside the trainer that they are used with.

    Each file comes with its name, and its values; the trainer is the one that names it, or the only one.
    """
    trainers = [
        (guess, values) for _, guess, values in files if guess.tool in TRAINERS and guess.document != "dataset_info"
    ]
    found: list[Guess] = []
    for name, guess, _ in files:
        last = name.rsplit("/", 1)[-1]
        naming = [
            one for one, values in trainers if any(str(values.get(key)).rsplit("/", 1)[-1] == last for key in NAMING)
        ]
        mine = {(one.tool, one.release): one for one in naming or [one for one, _ in trainers]}
        found.append(pinned_beside(guess, *mine.values()) if len(mine) == 1 else guess)
    return found


def pinned_beside(guess: Guess, trainer: Guess) -> Guess:
    """Return what a file is at the release that is pinned beside a trainer."""
    known = trainer.release in releases(trainer.tool)
    return _pinned(guess, f"{trainer.tool}-{trainer.release}") if known else guess


def _pinned(guess: Guess, environment: str) -> Guess:
    if guess.tool not in ("deepspeed", "accelerate", "lm_eval") or guess.because == "as --as says":
        return guess
    try:
        found = pinned(environment + ("-deepspeed" if guess.tool == "deepspeed" else ""), guess.tool)
    except (LookupError, OSError):
        return guess
    return guess._replace(release=found) if found in contracts.releases(guess.tool) else guess


def _keys(tool: str) -> set[str]:
    contract = contracts.load(tool, latest(tool))
    found = set(ONCE.get(tool, ()))
    for document in _documents(tool, latest(tool)):
        node = contract.node(document, ()) or {}
        found |= set(node.get("keys", ()))
    return found


def _document(tool: str, release: str, file: str, values: Mapping[str, Any]) -> str:
    """Return the document of a tool that a file is: by its keys, its name and folders, and what its values call it."""
    if tool not in DOCUMENTS:
        return ""
    documents = _documents(tool, release)
    if len(documents) == 1 or tool == "llamafactory":
        return documents[0]
    contract = contracts.load(tool, release)
    once = ONCE.get(tool, set())  # keys of old files for one document are those of another now
    stem = _words(file.rsplit("/", 1)[-1])
    folders = _words(file.rpartition("/")[0])
    said = {word for key in SAYING if isinstance(values.get(key), str) for word in _words(values[key])}

    def fits(document: str) -> tuple[float, int]:
        keys = (contract.node(document, ()) or {}).get("keys", {})
        named = 3.5 * (document in stem) + 1.5 * (document in folders) + 2.5 * (document in said)
        return sum(key in keys for key in values if key not in once) + named, -documents.index(document)

    return max(documents, key=fits)


def _words(text: str) -> set[str]:
    """Return the words of a name, with the documents that people call otherwise."""
    found = set(re.split(r"[^a-z]+", text.lower())) | set(re.findall(r"online_dpo", text.lower()))
    return found | {NAMES[word] for word in found & NAMES.keys()}


def _few(names: list[str]) -> str:
    shown = [f"`{name}`" for name in names[:3]]
    return ", ".join(shown[:-1]) + (" and " if shown[:-1] else "") + shown[-1]
