"""The judge of the laws is itself judged: by compilers with a known mistake, and by texts with a known meaning."""

from typing import Any

import laws
import pytest
from advice import DROP, changes
from bases import located
from laws import Judge
from meaning import changed

from recipec.course import without
from recipec.diagnostics import Finding
from recipec.pipeline import Compiled, compile_tree
from recipec.source import Mapping, dotted, find, split_path

BASE = "trl-sft-full-gpu-1"


def judged(monkeypatch: pytest.MonkeyPatch, compiler: Any, *paths: str) -> list[tuple[str, str]]:
    """Return the law and leaf of each fault that another compiler has at some leaves."""
    monkeypatch.setattr(laws, "compile_tree", compiler)
    judge = Judge(BASE)
    leaves = judge.leaves()
    return [(fault.kind, fault.leaf) for fault in judge.judge([leaves[path] for path in paths])]


def test_a_compiler_that_forgets_a_value_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    assert judged(monkeypatch, compile_tree, "seed", "model.revision", "train.beta1") == []

    def forgetful(tree: Mapping) -> Compiled:
        return compile_tree(without(tree, {"seed"}))

    assert judged(monkeypatch, forgetful, "seed", "train.beta1") == [("dropped", "seed")]


def test_a_compiler_that_refuses_a_default_or_blames_another_line_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def strict(tree: Mapping) -> Compiled:
        compiled = compile_tree(tree)
        seed = find(tree, ("seed",))
        if seed is None:
            return compiled
        other = tree.keys["name"]
        return compiled.replaced(files={}, findings=[Finding("P000", "something is wrong", other, help="mend it")])

    assert judged(monkeypatch, strict, "seed", "train.beta1") == [("elsewhere", "seed"), ("default", "seed")]


def test_a_compiler_whose_advice_goes_in_a_circle_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def circling(tree: Mapping) -> Compiled:
        compiled = compile_tree(tree)
        there = find(tree, ("train", "weight_decay"))
        if there is not None:
            found = Finding("T002", "train.weight_decay has no effect", there.span, help="drop it: nothing acts on it")
        elif find(tree, ("seed",)) is not None:
            found = Finding("P000", "seed needs more", tree.keys["seed"], help="set train.weight_decay, such as 0.1")
        else:
            return compiled
        return compiled.replaced(files={}, findings=[found])

    found = judged(monkeypatch, circling, "seed")
    assert ("circle", "train.weight_decay") in found


@pytest.mark.parametrize(
    ("name", "before", "after", "same"),
    [
        ("a.yaml", "# x\na: 1  # why\nb: [1, 2]\n", "a: 1\nb:\n  - 1\n  - 2\n", True),
        ("a.yaml", "a: 1\n", "a: 2\n", False),
        ("a.yaml", "a: 1\n", 'a: "1"\n', False),
        ("a.json", '{"a": 1}', '{\n "a": 1\n}', True),
        ("a.json", '{"a": 1}', '{"a": true}', False),
        ("a.py", "f(\n    1,  # one\n)\n", "f(1)\n", True),
        ("a.py", "f(1)\n", "f(2)\n", False),
        ("a.sh", "# of x\nrun --a 1  # why\n", "run --a 1\n", True),
        ("a.sh", "run '# no remark'\n", "run\n", False),
        ("a.sh", 'echo "${a#b}" "$#"\n', 'echo "${a#c}" "$#"\n', False),
        ("plan.json", "{}", "[]", True),
        ("a.txt", "# directive: x\n", "\n", False),
    ],
)
def test_remarks_are_no_meaning_and_values_are(name: str, before: str, after: str, same: bool) -> None:
    assert changed({name: before}, {name: after}) == ([] if same else [name])
    assert changed({name: before}, {}) == ([] if name == "plan.json" else [name])


@pytest.mark.parametrize(
    ("place", "suggestion", "help", "told"),
    [
        ("train.scheduler", None, "use scheduler: constant, or drop it", ["train.scheduler = constant", "train.scheduler"]),
        ("train.scheduler", None, "set train.decay, such as 10%", ["train.decay = 10%"]),
        ("train.scheduler", "cosine", "one of them", ["train.scheduler = cosine"]),
        ("train.scheduler", None, "it can do: cosine, linear; trl can do more", ["train.scheduler = cosine", "train.scheduler = linear"]),
        ("train.scheduler", None, "choose linear or cosine", ["train.scheduler = linear", "train.scheduler = cosine"]),
        ("train.learning_rate", None, "use engine: hf, or another trainer", ["rollout.engine = hf"]),
        ("train.learning_rate", None, "use per_node: 1, nodes: 1", ["hardware.per_node = 1", "hardware.nodes = 1"]),
        ("train.learning_rate", None, "drop scheduler", ["train.scheduler"]),
        ("train.learning_rate", None, "lower it, or see that the data fits", []),
        ("train.learning_rate", None, "use a model made for it", []),
    ],
)  # fmt: skip
def test_advice_is_read_as_a_person_reads_it(place: str, suggestion: str | None, help: str, told: list[str]) -> None:
    tree = laws.laid(located(BASE), ("train", "scheduler"), "polynomial")
    node = find(tree, split_path(place))
    assert node is not None
    found = changes(tree, Finding("X000", "a message", node.span, suggestion, help))
    words = [
        dotted(change.path) if change.value is DROP else f"{dotted(change.path)} = {change.value}" for change in found
    ]
    assert words == told
