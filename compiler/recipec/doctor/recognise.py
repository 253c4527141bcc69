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
DOCUMENTS: dict[str, tuple[str, ...]] = {
    "axolotl": ("config",),
    "llamafactory": ("config", "dataset_info"),
    "trl": ("sft", "dpo", "grpo", "kto", "reward", "rloo"),
    "deepspeed": ("ds_config",),
    "accelerate": ("config",),
    "lm_eval": ("config",),
}
SCRIPTS = (".sh", ".bash", ".slurm", ".sbatch", ".job", ".run")
TRAINERS = ("axolotl", "llamafactory", "trl")  # their pins say which DeepSpeed and accelerate run beside them
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
        return f"{TITLES[self.tool]}{release}{command}"


def latest(tool: str) -> str:
    """Return the newest release of a tool that there is a contract of; a script has none."""
    return contracts.releases(tool)[-1] if tool != "script" else ""


def named(text: str) -> tuple[str, str]:
    """Read `TOOL` or `TOOL-RELEASE`. Raises ValueError with what there is."""
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
    return tool, release


def is_script(file: str, text: str) -> bool:
    """Return whether a file is a shell script, by its name or its first line."""
    first = text.split("\n", 1)[0]
    return file.endswith(SCRIPTS) or bool(re.match(r"#!.*\b(?:ba|z|da)?sh\b", first)) or first.startswith("#SBATCH")


def stranger(values: Mapping[str, Any]) -> str | None:
    """Return the name of another tool that a file is plainly for."""
    return next((name for name, is_it in STRANGERS.items() if is_it(values)), None)


def recognise(file: str, values: Mapping[str, Any], wanted: tuple[str, str] | None = None) -> Guess | None:
    """Return what a file is, or None. Keys that few tools read count more; `wanted` overrules tool and release."""
    if wanted is not None:
        tool, release = wanted
        return Guess(tool, release or latest(tool), _document(tool, file, values), "as --as says")
    if values and all(isinstance(row, Mapping) and ROWS & row.keys() for row in values.values()):
        return Guess("llamafactory", latest("llamafactory"), "dataset_info", "every entry names a source of rows")
    known = {tool: _keys(tool) for tool in DOCUMENTS}
    weight = {key: 1 / max(1, sum(key in keys for keys in known.values())) for key in values}
    scores = {tool: sum(weight[key] for key in values if key in keys) for tool, keys in known.items()}
    best = max(scores, key=lambda tool: scores[tool])
    if scores[best] < ENOUGH or 4 * sum(key in known[best] for key in values) < len(values):
        return None
    own = [key for key in values if key in known[best] and weight[key] == 1]
    because = f"{TITLES[best]} reads {_few(own)}" if own else f"{TITLES[best]} reads most of its keys"
    return Guess(best, latest(best), _document(best, file, values), because)


def beside(guesses: list[Guess]) -> list[Guess]:
    """Give DeepSpeed, accelerate and lm-eval the releases that are pinned beside the one trainer they are given with."""
    trainers = {(guess.tool, guess.release) for guess in guesses if guess.tool in TRAINERS}
    if len(trainers) != 1:
        return guesses
    [(tool, release)] = trainers
    if release not in releases(tool):
        return guesses
    return [_pinned(guess, f"{tool}-{release}") for guess in guesses]


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
    for document in DOCUMENTS[tool]:
        node = contract.node(document, ()) or {}
        found |= set(node.get("keys", ()))
    return found


def _document(tool: str, file: str, values: Mapping[str, Any]) -> str:
    """Return the document of a tool that reads most of the keys; of several, the one that the file's path names."""
    if tool not in DOCUMENTS:
        return ""
    documents = DOCUMENTS[tool]
    if tool == "llamafactory":
        return "config"
    contract = contracts.load(tool, latest(tool))
    words = set(re.split(r"[^a-z]+", file.lower()))

    def fits(document: str) -> tuple[int, bool, int]:
        keys = (contract.node(document, ()) or {}).get("keys", {})
        return sum(key in keys for key in values), document in words, -documents.index(document)

    return max(documents, key=fits)


def _few(names: list[str]) -> str:
    shown = [f"`{name}`" for name in names[:3]]
    return ", ".join(shown[:-1]) + (" and " if shown[:-1] else "") + shown[-1]
