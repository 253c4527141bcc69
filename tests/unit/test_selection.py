"""Which stages an expression selects: by example, and as laws that hold for every graph."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recipec.diagnostics import RecipeError
from recipec.engine.selection import Choice, Graph, choose, matching

PARENTS = {
    "pretrain": (),
    "sft": ("pretrain",),
    "sft-merge": ("sft",),
    "judge": ("pretrain",),
    "rl": ("sft-merge", "judge"),
    "evaluate-sft": ("sft",),
    "evaluate-rl": ("rl",),
}
KINDS = {
    name: "merge" if "merge" in name else "evaluate" if name.startswith("evaluate") else "train" for name in PARENTS
}
GRAPH = Graph(KINDS, PARENTS)


@pytest.mark.parametrize(
    ("expression", "selected"),
    [
        ("sft", "sft"),
        ("sft+", "sft sft-merge rl evaluate-sft evaluate-rl"),
        ("+sft", "pretrain sft"),
        ("+sft+", "pretrain sft sft-merge rl evaluate-sft evaluate-rl"),
        ("sft+1", "sft sft-merge evaluate-sft"),
        ("sft+2", "sft sft-merge evaluate-sft rl"),
        ("sft+0", "sft"),
        ("1+rl", "rl sft-merge judge"),
        ("2+rl", "rl sft-merge judge sft pretrain"),
        ("1+sft+1", "pretrain sft sft-merge evaluate-sft"),
        ("@sft", "pretrain sft sft-merge judge rl evaluate-sft evaluate-rl"),
        ("@evaluate-sft", "pretrain sft evaluate-sft"),
        ("kind:evaluate", "evaluate-sft evaluate-rl"),
        ("kind:*", " ".join(PARENTS)),
        ("+kind:merge", "pretrain sft sft-merge"),
        ("evaluate-*", "evaluate-sft evaluate-rl"),
        ("*sft", "sft evaluate-sft"),
        ("?l", "rl"),
        ("*", " ".join(PARENTS)),
        ("judge rl", "judge rl"),
        ("sft+,kind:evaluate", "evaluate-sft evaluate-rl"),
        ("sft+,+rl", "sft sft-merge rl"),
        ("judge sft+,kind:merge", "judge sft-merge"),
        ("judge,sft", ""),
        ("  judge   rl ", "judge rl"),
    ],
)
def test_an_expression_selects(expression: str, selected: str) -> None:
    assert matching(GRAPH, [expression]) == set(selected.split())
    assert matching(GRAPH, expression.split()) == set(selected.split())


@pytest.mark.parametrize(
    ("expression", "code", "message", "suggestion"),
    [
        ("sfd", "E023", 'there is no stage "sfd"; there are pretrain, ', None),
        ("pretrian+", "E023", 'there is no stage "pretrian"', "pretrain"),
        ("x*", "E023", 'there is no stage "x*"', None),
        ("kind:evalute", "E023", 'there is no kind "evalute"; there are train, merge, evaluate', "evaluate"),
        ("knd:train", "E022", 'stages cannot be selected by "knd:"', "kind"),
        ("sft,", "E022", '"sft," selects nothing: "" is no expression', None),
        ("@sft+", "E022", '"@sft+" selects nothing: "@sft+" is no expression', None),
        ("sft++", "E022", '"sft++" selects nothing', None),
        ("+", "E022", '"+" selects nothing', None),
        ("sft+x", "E022", '"sft+x" selects nothing', None),
    ],
)
def test_a_wrong_expression_is_told(expression: str, code: str, message: str, suggestion: str | None) -> None:
    with pytest.raises(RecipeError) as caught:
        matching(GRAPH, [expression])
    (finding,) = caught.value.findings
    assert (finding.code, finding.suggestion, finding.file) == (code, suggestion, "command line")
    assert finding.message.startswith(message)


def test_all_that_is_wrong_is_told_at_once() -> None:
    with pytest.raises(RecipeError) as caught:
        choose(GRAPH, Choice(select=("a", "b,@c+"), exclude=("d",), start="e"))
    assert [(one.code, one.message.split(";")[0]) for one in caught.value.findings] == [
        ("E022", '"b,@c+" selects nothing: "@c+" is no expression'),
        *(("E023", f'there is no stage "{name}"') for name in "abde"),
    ]


@pytest.mark.parametrize(
    ("choice", "selected", "forced"),
    [
        (Choice(), set(PARENTS), set()),
        (Choice(force=True), set(PARENTS), set(PARENTS)),
        (Choice(select=("sft+1",)), {"sft", "sft-merge", "evaluate-sft"}, set()),
        (Choice(select=("sft", "rl"), force=True), {"sft", "rl"}, {"sft", "rl"}),
        (Choice(exclude=("kind:evaluate",)), set(PARENTS) - {"evaluate-sft", "evaluate-rl"}, set()),
        (Choice(select=("sft+",), exclude=("rl+",)), {"sft", "sft-merge", "evaluate-sft"}, set()),
        (Choice(start="rl"), {"rl", "evaluate-rl"}, {"rl", "evaluate-rl"}),
        (Choice(start="rl", exclude=("kind:evaluate",)), {"rl"}, {"rl"}),
        (Choice(start="rl", select=("judge",)), {"judge", "rl", "evaluate-rl"}, {"rl", "evaluate-rl"}),
        (Choice(only=("rl", "judge")), {"rl", "judge"}, set()),
        (Choice(only=("rl",), force=True), {"rl"}, {"rl"}),
    ],
)
def test_options_choose(choice: Choice, selected: set[str], forced: set[str]) -> None:
    assert choose(GRAPH, choice) == (selected, forced)


@pytest.mark.parametrize(
    ("choice", "code", "message"),
    [
        (Choice(only=("sft",), select=("rl",)), "U003", "--only goes with none of --select, --exclude and --from"),
        (Choice(only=("sft",), exclude=("rl",)), "U003", "--only goes"),
        (Choice(only=("sft",), start="rl"), "U003", "--only goes"),
        (Choice(only=("sft+",)), "E023", 'there is no stage "sft+"'),
        (Choice(start="sft+"), "E023", 'there is no stage "sft+"'),
        (Choice(select=("sft",), exclude=("sft",)), "E024", "no stage is selected"),
        (Choice(select=("judge,sft",)), "E024", "no stage is selected"),
    ],
)
def test_a_choice_that_makes_no_sense_is_refused(choice: Choice, code: str, message: str) -> None:
    with pytest.raises(RecipeError) as caught:
        choose(GRAPH, choice)
    assert [(one.code, one.message.startswith(message)) for one in caught.value.findings] == [(code, True)]


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    """Any graph without circles, its stages in an order that fits."""
    names = [f"s{number}" for number in range(draw(st.integers(1, 8)))]
    parents: dict[str, tuple[str, ...]] = {}
    for number, name in enumerate(names):
        earlier = st.lists(st.sampled_from(names[:number]), unique=True, max_size=3) if number else st.just([])
        parents[name] = tuple(draw(earlier))
    return Graph({name: draw(st.sampled_from(["train", "evaluate"])) for name in names}, parents)


@st.composite
def cases(draw: st.DrawFn) -> tuple[Graph, str, str]:
    """A graph, and two of its stages."""
    graph = draw(graphs())
    names = st.sampled_from(list(graph.kinds))
    return graph, draw(names), draw(names)


def needs(graph: Graph, name: str) -> set[str]:
    """Return what a stage needs, as simply as it can be said."""
    return {name}.union(*(needs(graph, parent) for parent in graph.parents[name]))


@given(cases())
def test_plus_is_what_is_needed_and_what_is_behind(case: tuple[Graph, str, str]) -> None:
    graph, a, b = case
    assert matching(graph, [f"+{a}"]) == needs(graph, a)
    assert (b in matching(graph, [f"{a}+"])) == (a in matching(graph, [f"+{b}"]))
    assert matching(graph, [f"+{a}+"]) == matching(graph, [f"+{a} {a}+"])


@given(cases())
def test_at_is_enough_to_run_everything_behind(case: tuple[Graph, str, str]) -> None:
    graph, a, _ = case
    found = matching(graph, [f"@{a}"])
    assert matching(graph, [f"+{a}+"]) <= found
    assert all(set(graph.parents[name]) <= found for name in found)
    assert found == set().union(*(needs(graph, name) for name in matching(graph, [f"{a}+"])))


@given(cases(), st.integers(0, 9))
def test_steps_grow_to_all(case: tuple[Graph, str, str], steps: int) -> None:
    graph, a, _ = case
    for near, next_one, all_of in (
        (f"{steps}+{a}", f"{steps + 1}+{a}", f"+{a}"),
        (f"{a}+{steps}", f"{a}+{steps + 1}", f"{a}+"),
    ):
        assert matching(graph, [near]) <= matching(graph, [next_one]) <= matching(graph, [all_of])
        if steps >= len(graph.kinds):
            assert matching(graph, [near]) == matching(graph, [all_of])


@given(cases(), st.sampled_from(["{}", "{}+", "+{}", "@{}", "1+{}"]), st.sampled_from(["{}", "+{}", "{}+1", "kind:*"]))
def test_space_joins_and_comma_keeps_what_both_have(case: tuple[Graph, str, str], one: str, other: str) -> None:
    graph, a, b = case
    left, right = one.format(a), other.format(b)
    assert matching(graph, [f"{left} {right}"]) == matching(graph, [left]) | matching(graph, [right])
    assert matching(graph, [f"{left},{right}"]) == matching(graph, [left]) & matching(graph, [right])


@given(cases())
def test_from_runs_anew_what_force_runs_behind(case: tuple[Graph, str, str]) -> None:
    graph, a, _ = case
    assert choose(graph, Choice(start=a)) == choose(graph, Choice(select=(f"{a}+",), force=True))


@given(st.text(alphabet="s01+@,:* k?[]", max_size=8))
def test_whatever_is_written_selects_stages_or_is_told(text: str) -> None:
    graph = Graph({"s0": "k", "s1": "k"}, {"s0": (), "s1": ("s0",)})
    codes: set[str] = set()
    try:
        assert matching(graph, [text]) <= {"s0", "s1"}
    except RecipeError as error:
        codes = {one.code for one in error.findings}
    assert codes <= {"E022", "E023"}
