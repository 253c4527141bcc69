"""What each word of the language becomes with each trainer: `words.yaml` lists the words, `words/` their effects.

A base is written in full; of every word laid over it, only what differs from the base: `=` a value of the plan, a key of
a file or a variable, `+` and `-` a line of a script, `!` the code of a finding. Of what is refused, only the codes are
written. `pytest tests/golden --update` accepts.
"""

import json
import runpy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from recipec.kinds.train.methods import METHODS
from recipec.pipeline import compile_tree
from recipec.plan import Stage, fields
from recipec.source import Source
from recipec.systems.emit import emit
from recipec.systems.registry import doing, system
from recipec.systems.table import flattened
from recipec.yaml_reader import read_text

HERE = Path(__file__).parent
ROWS = runpy.run_path(str(HERE.parents[1] / "scripts" / "rows.py"))
WORDS: dict[str, Any] = YAML(typ="safe").load(HERE / "words.yaml")
OWN = {  # one's own script takes what it is given, and no more
    "recipe": 1,
    "name": "one",
    "trainer": "script",
    "train": {},
    "hardware": {"gpu": "a100-80gb", "per_node": 4},
    "script": {"path": "train.py", "arguments": {"out": "${plan:train.output}"}},
}
Effects = dict[str, Any]  # what there is to see of a recipe, each thing under a name


def laid(base: Any, above: Any) -> Any:
    """Lay plain data over plain data: mappings merge, null takes out, the rest replaces."""
    if not isinstance(base, dict) or not isinstance(above, dict):
        return above
    merged = {key: laid(base.get(key), value) for key, value in above.items() if value is not None}
    return {**{key: value for key, value in base.items() if key not in above}, **merged}


def base(trainer: str, name: str) -> Any:
    """Return the small recipe of a method, in full or with LoRA, on as few GPUs as the trainer takes."""
    if name == "own":
        return OWN
    method, _, what = name.partition("-")
    strategy = "single" if "single" in system(trainer).can["parallel.strategy"] else "zero2"
    made = YAML(typ="safe").load(ROWS["recipe"](trainer, method, lora=what == "lora", strategy=strategy))
    if method == "kto":
        made["train"]["micro_batch_size"] = 2  # it compares rows
    if trainer == "openrlhf" and METHODS[method].online:
        made |= {"rollout": {"engine": "vllm"}, "hardware": {"gpu": "a100-80gb", "per_node": 8}}
    return made


def effects(recipe: Any) -> Effects:
    """Return what there is to see of a recipe: its findings, and all that its plan and its files say."""
    compiled = compile_tree(read_text(Source("r.yaml", json.dumps(recipe))))
    found: Effects = {f"! {finding.code}": finding.severity for finding in compiled.findings}
    if compiled.resolved is not None and compiled.files:
        for stage in compiled.resolved.plan.stages:
            found |= {f"{stage.name} {what}": value for what, value in of_stage(stage)}
            found[f"{stage.name} run.sh:"] = compiled.files[f"{stage.name}/run.sh"]
    return found


def of_stage(stage: Stage[Any]) -> Iterator[tuple[str, Any]]:
    yield "done by", (stage.system, stage.release, stage.environment)
    yield "waits for", stage.after
    for path, value in flattened(stage.body).items():
        if "*" not in path and not fields(value) and not (isinstance(value, tuple) and value and fields(value[0])):
            yield path, value
    emitted = emit(stage)
    for document in emitted.documents:
        for key, entry in document.entries.items():
            yield f"{document.file}: {key}", entry.value
        if document.template:
            yield f"{document.file}:", document.template
    for name, text in emitted.files.items():
        yield f"beside {name}:", text


def differences(before: Effects, after: Effects) -> Iterator[str]:
    """Yield a line for each thing that is other than before; only the findings of what is refused."""
    refused = "error" in [value for name, value in after.items() if name.startswith("!")]
    for name in dict.fromkeys([*after, *before]):
        was, now = before.get(name), after.get(name)
        if name.startswith("!"):
            if name not in before or name not in after:
                yield f"  {name}" + ("" if name in after else " no longer")
        elif refused or (name in before and name in after and was == now):
            continue
        elif name not in after:
            yield f"  = {name} is gone"
        elif not name.endswith(":"):
            yield f"  = {name}: {json.dumps(now, ensure_ascii=False, default=repr)}"
        elif was is None and " beside " in name:
            yield f"  = {name} new"  # its text is that of `tests/golden/trees`
        else:
            lines, new = str(was or "").splitlines(), str(now).splitlines()
            yield f"  {name}"
            yield from (f"    - {line}" for line in lines if line not in new)
            yield from (f"    + {line}" for line in new if line not in lines)


def told(trainer: str, name: str, group: str) -> Iterator[str]:
    recipe = base(trainer, name)
    plain = effects(recipe)
    if group == "base":
        yield from differences({}, plain)
        return
    for words in WORDS[group]["words"]:
        yield f"# {json.dumps(words, ensure_ascii=False)}"
        yield from differences(plain, effects(laid(recipe, words)))


GROUPS = {"base": list(dict.fromkeys(name for group in WORDS.values() for name in group["of"]))}
GROUPS |= {group: about["of"] for group, about in WORDS.items()}
CASES = [
    (trainer, name, group)
    for trainer in doing("train")
    for group, names in GROUPS.items()
    for name in names
    if (name == "own" if trainer == "script" else name.partition("-")[0] in system(trainer).can["method"])
]


def golden(trainer: str, name: str, group: str) -> Path:
    return HERE / "words" / trainer / f"{name}-{group}.txt"


@pytest.mark.parametrize(("trainer", "name", "group"), CASES)
def test_what_each_word_becomes(trainer: str, name: str, group: str, update: bool) -> None:
    file, text = golden(trainer, name, group), "\n".join(told(trainer, name, group)) + "\n"
    if update:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    assert text.splitlines() == file.read_text(encoding="utf-8").splitlines()


def test_each_word_is_one_of_the_language() -> None:
    """A word of a wrong shape would hold nothing."""
    assert [file.name for case in CASES if "! R" in (file := golden(*case)).read_text(encoding="utf-8")] == []


def test_no_effects_are_left_over() -> None:
    assert {*(HERE / "words").rglob("*.txt")} == {golden(*case) for case in CASES}


def test_every_method_is_looked_at() -> None:
    assert {name.partition("-")[0] for name in GROUPS["base"]} == {*METHODS, "own"}
