"""Whatever stands in a free text of a recipe arrives as it is, or is refused: it never becomes code, markup or layout.

Each free text of a base gets a hostile value and, in its twin, a harmless one. Where both compile, every file must say
the same in both but for that text: real bash must hand the tools the same words, Python and YAML have the same shape,
Markdown the same blocks; and nothing invisible stands in what people review.
"""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
from collections.abc import Iterator
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any, get_origin

import pytest
from bases import located, texts
from markdown_it import MarkdownIt
from ruamel.yaml import YAML
from words import Leaf, flat, leaves

from recipec.diagnostics import render
from recipec.language import Recipe
from recipec.pipeline import Compiled, compile_tree
from recipec.source import Mapping, Source, dotted, plain
from recipec.source import Path as Steps
from recipec.yaml_reader import read_text

BASES = [
    "quickstart", "script-accelerate", "script-torchrun", "script-ray", "script-deepspeed", "course-trl", "course-merging",
    "course-axolotl", "axolotl-dpo-lora-gpu-4", "axolotl-reward-lora-gpu-4", "axolotl-orpo-full-gpu-1",
    "trl-sft-full-gpu-1", "trl-grpo-lora-gpu-4", "trl-kto-lora-gpu-4", "llamafactory-sft-lora-gpu-4", "llamafactory-dpo-lora-gpu-4",
    "unsloth-sft-lora-gpu-1", "unsloth-grpo-lora-gpu-1", "openrlhf-grpo-full-gpu-4", "openrlhf-dpo-lora-gpu-4",
    "llama-3-8b-benchmarks-vllm", "said-trl-grpo", "said-openrlhf-ppo",
]  # fmt: skip
TWIN = "harmless"
CODE = "a'b\"c`touch PWNED`$(touch PWNED);touch PWNED\n\ttouch PWNED\n)\ntouch PWNED #${HOME} !! \\ {{7*7}} {% x %} %s */ '''\"\"\"\r"
UNSEEN = "\x1b]52;c;eA==\x07\u202e\u200b\x9b2J\u2066\ufeff"
MARKUP = "<script>x</script><img src=x> [l](javascript:x) ![i](http://x) *e* | c |\n\n# head\n\n- item\n\n```\ncode\n---\n&lt; _e_ ~~s~~"
HOSTILE = [
    CODE + UNSEEN,
    MARKUP,
    "--help",
    "-rf",
    "- x: &a !!python/object",
    "~",
    "null",
    "0x1F",
    "a: b # c",
    " lead",
    "{x",
    "%TAG",
]
SHAPES = ["§", "org/§", "data/§.jsonl", "http://h/§", "§.py"]  # § is the place of the text
# What is asked of a person, or named by a rule, and must be one of a few things.
EXTRA: list[tuple[Steps, Any]] = [
    (("description",), "§"),
    (("allow", "more-than-the-memory"), "§"),
    (("launch", "environment", "WORD"), "§"),
    (("script", "arguments", "more"), "§"),
    (("adapter", "options"), {"§": 1}),
    (("script", "arguments", "told"), "${plan:train.adapter.options.§}"),
    (("overrides", "axolotl"), {"chat_template_kwargs": {"§": "§"}}),
    (("overrides", "lm_eval"), {"gen_kwargs": {"§": "§"}}),
]  # fmt: skip


def free(base: str) -> Iterator[tuple[Steps, Any]]:
    """Yield the free texts of a base: where each stands, and its value with a place for a text."""
    recipe = plain(located(base))
    for leaf in leaves(recipe):
        if any(
            kind is str or (get_origin(kind) is list and kind.__args__[0] is not None) for kind, _ in flat(leaf.kind)
        ):
            yield leaf.path, ["§"] if _lists(leaf) else "§"
    yield from EXTRA


def _lists(leaf: Leaf) -> bool:
    return (
        all(get_origin(kind) is list or kind is type(None) for kind, _ in flat(leaf.kind)) or leaf.path[-1] == "targets"
    )


def said(value: Any, text: str) -> Any:
    """Return a value with a text at the place that it has for one."""
    if isinstance(value, dict):
        return {key.replace("§", text): said(item, text) for key, item in value.items()}
    if isinstance(value, list):
        return [said(item, text) for item in value]
    return value.replace("§", text) if isinstance(value, str) else value


def laid(base: str, path: Steps, value: Any) -> dict[str, Any]:
    recipe: Any = plain(located(base))
    at = recipe
    for step, after in pairwise(path):
        if isinstance(step, int):
            at = at[step]
            continue
        if not isinstance(at.get(step), list if isinstance(after, int) else dict):
            at[step] = [{}] if isinstance(after, int) else {}
        at = at[step]
    at[path[-1]] = value
    return recipe


def compiled(recipe: dict[str, Any]) -> Compiled:
    return compile_tree(read_text(Source("r.yaml", json.dumps(recipe))))


@lru_cache(maxsize=8)
def harmless(base: str, path: Steps, value: str) -> Compiled:
    return compiled(laid(base, path, said(json.loads(value), TWIN)))


def shape(value: Any) -> Any:
    """Return the types of plain data; the text of a key does not count."""
    if isinstance(value, dict):
        return [shape(item) for item in value.values()]
    return [shape(item) for item in value] if isinstance(value, list) else type(value).__name__


def code(text: str) -> str:
    """Return what Python makes of a text, without its constants."""
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            node.value = ""
    return ast.dump(tree)


# the warnings of a plan: which there are follows from what a name looks like
WARNINGS = re.compile(r"^## Warnings\n.*?(?=^## )", re.DOTALL | re.MULTILINE)
LISTED = {"heading", "bullet_list", "list_item", "paragraph", "inline", "code_inline"}


def said_in_warnings(text: str) -> set[str]:
    """Return the kinds of blocks and marks among the warnings of a plan, of whatever number."""
    kinds = {kind for warnings in WARNINGS.findall(text) for block in blocks(warnings) for kind in block}
    return {kind.removesuffix("_open").removesuffix("_close") for kind in kinds}


def blocks(text: str) -> list[tuple[str, ...]]:
    """Return the blocks of Markdown, each with the marks in it; items and paragraphs in a row are one, and code is only text."""
    found: list[tuple[str, ...]] = []
    for token in MarkdownIt("gfm-like", {"linkify": False, "html": True}).parse(text):
        marks = {child.type for child in token.children or ()} - {"text", "text_special", "code_inline", "softbreak"}
        found.append((token.type, *sorted(marks)))
        for length in (3, 5):  # of a paragraph, and of an item of a list
            if found[-length:] == found[-2 * length : -length]:
                del found[-length:]
    return found


STUB = '#!/bin/bash\nprintf \'%s\\0\' "${0##*/}" "$@" >> "$WORDS"\nprintf \'WORD=%s\\0\' "${WORD-}" >> "$WORDS"\n'
TOOLS = (
    "axolotl",
    "accelerate",
    "torchrun",
    "deepspeed",
    "llamafactory-cli",
    "trl",
    "python",
    "python3",
    "lm-eval",
    "lm_eval",
    "ray",
    "sleep",
)


def words(files: dict[str, str], folder: Path, made: Compiled) -> list[str]:
    """Return the words that every tool gets when real bash runs the tree."""
    folder.mkdir()
    for name, text in files.items():
        (folder / "tree" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "tree" / name).write_text(text)
    stubs = folder / "stubs/bin"
    stubs.mkdir(parents=True)
    for tool in TOOLS:
        (stubs / tool).write_text(
            STUB if tool != "ray" else STUB.replace("printf", '[ "$1" = start ] || printf')
        )  # beside others
        (stubs / tool).chmod(0o755)
    (folder / "environments").mkdir()
    assert made.resolved is not None
    for stage in made.resolved.plan.stages:
        link = folder / "environments" / stage.environment
        if not link.exists():
            link.symlink_to(folder / "stubs")
        for read in stage.reads:
            path = folder / read.path
            if not read.path.startswith("/") and not path.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                path.touch()
    base = {"PATH": os.environ["PATH"], "RECIPE_ENVIRONMENTS": "environments", "WORDS": str(folder / "words")}
    base |= {"NODE_RANK": "0", "MASTER_ADDR": "127.0.0.1", "RAY_WAIT_SECONDS": "0", "HOME": str(folder)}
    subprocess.run(["bash", "tree/run.sh"], cwd=folder, env=base, capture_output=True, check=False, timeout=60)
    assert not list(folder.rglob("PWNED"))
    text = (folder / "words").read_bytes().decode() if (folder / "words").exists() else ""
    return text.replace(str(folder), "").split("\0")


def judge(base: str, path: Steps, value: Any, text: str, folder: Path) -> list[str]:
    """Return what is wrong with a text at a place."""
    twin = harmless(base, path, json.dumps(value))
    if not twin.files:
        return []
    made = compiled(laid(base, path, said(value, text)))
    shown = render(made.findings)
    found = [f"a finding holds {c!r}" for c in sorted(set(shown)) if not c.isprintable() and c != "\n"]
    if not made.files:
        return found
    names = {name: name for name in made.files if name in twin.files}
    names |= dict(
        zip(sorted(made.files.keys() - names), sorted(twin.files.keys() - names), strict=True)
    )  # named by a hash
    for name, other in names.items():
        mine, its = made.files[name], twin.files[other]
        found += [f"{name} holds {c!r}" for c in sorted(set(mine) - set("\n\t")) if not c.isprintable()]
        if mine == its:
            continue
        if name.endswith((".yaml", ".yml")):
            same = shape(YAML(typ="safe").load(mine)) == shape(YAML(typ="safe").load(its))
        elif name.endswith(".json"):
            same = shape(json.loads(mine)) == shape(json.loads(its)) or name == "plan.json"
        elif name.endswith(".py"):
            same = code(mine) == code(its)
        elif name.endswith(".md"):
            same = blocks(WARNINGS.sub("", mine)) == blocks(WARNINGS.sub("", its)) and said_in_warnings(mine) <= LISTED
        else:
            same = True
        found += [] if same else [f"{name} has another shape"]
    scripts = [name for name in made.files if name.endswith(".sh")]
    if any(made.files[name] != twin.files.get(name) for name in scripts):
        expected = [one.replace(TWIN, text) for one in words(twin.files, folder / "twin", twin)]
        got = words(made.files, folder / "hostile", made)
        # what looks like an option is joined to the name of its own
        got = [part for one in got for part in (one.split("=", 1) if re.match(r"--[\w.-]+=-", one) else [one])]
        differ = [
            (a, b) for a, b in zip(expected, got, strict=False) if a != b and not re.search("rows_[0-9a-f]{8}", a)
        ]
        found += [f"bash hands over {b!r} instead of {a!r}" for a, b in differ[:2]]
        found += [] if len(expected) == len(got) else [f"bash hands over {len(got)} words instead of {len(expected)}"]
    return found


def cases(base: str) -> list[tuple[Steps, Any, str]]:
    found = []
    for path, value in free(base):
        for number, form in enumerate(SHAPES if value == "§" else [value]):
            turn = 2 + (len(found) + number) % (len(HOSTILE) - 2)
            found += [(path, form, text) for text in (*HOSTILE[:2], HOSTILE[turn])]
    return found


def run(base: str, chosen: list[tuple[Steps, Any, str]], folder: Path) -> None:
    wrong = []
    for number, (path, value, text) in enumerate(chosen):
        (inner := folder / str(number)).mkdir()
        wrong += [
            f"{base}: {dotted(path)}: {value} {text[:20]!r}: {fault}" for fault in judge(base, path, value, text, inner)
        ]
    assert not wrong, "\n".join(dict.fromkeys(wrong))


@pytest.mark.metamorphic
@pytest.mark.parametrize("base", BASES)
def test_no_text_of_a_recipe_becomes_code(base: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """Of the three texts for a place and a shape, each base takes another in turn, unless `--every-leaf` asks for all."""
    every, turn = request.config.getoption("--every-leaf"), BASES.index(base)
    chosen = [one for at, one in enumerate(cases(base)) if every or (at // 3 + at + turn) % 3 == 0]
    run(base, chosen, tmp_path)


@pytest.mark.parametrize("base", BASES)
def test_no_text_of_a_recipe_becomes_code_in_a_sample(base: str, tmp_path: Path) -> None:
    run(base, Random(base).sample(cases(base), 12), tmp_path)


def test_every_base_is_there() -> None:
    assert not set(BASES) - set(texts())
    assert isinstance(located(BASES[0]), Mapping)
    assert Recipe.model_fields
