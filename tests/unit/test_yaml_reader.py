"""Reading: YAML 1.2 meanings, exact positions, bounded work."""

import resource
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recipec.diagnostics import RecipeError
from recipec.render.yaml_writer import YamlWriter
from recipec.source import Mapping, Scalar, Source, dotted, find, plain, split_path
from recipec.yaml_reader import read_text, scalar_value


def read(text: str):
    return read_text(Source("recipe.yaml", text))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"), ("yes", "yes"), ("on", "on"), ("True", True), ("false", False), ("~", None), ("null", None),
        ("1e-4", 1e-4), ("1.", 1.0), (".5", 0.5), ("012", 12), ("0o17", 15), ("0x1F", 31), ("1_000", "1_000"),
        ("12:30", "12:30"), ("2024-01-01", "2024-01-01"), ("+1", 1), ("-", "-"), ("1e", "1e"), (".inf", float("inf")),
    ],
)  # fmt: skip
def test_scalars_mean_what_yaml_1_2_says(text: str, value: object) -> None:
    assert scalar_value(text) == value
    assert type(scalar_value(text)) is type(value)


def test_positions_of_keys_and_values() -> None:
    tree = read("a: 1\nb:\n  - c: é\n    d: 'x y'\n")
    node = find(tree, ("b", 0, "d"))
    assert isinstance(node, Scalar)
    assert (node.span.line, node.span.column, node.span.end_column) == (4, 8, 13)
    assert isinstance(tree, Mapping)
    assert (tree.keys["b"].line, tree.keys["b"].column) == (2, 1)


def test_quoted_numbers_stay_text() -> None:
    assert plain(read("a: '1'\nb: \"true\"\nc: !!str 5")) == {"a": "1", "b": "true", "c": "5"}


def test_aliases_share_values() -> None:
    assert plain(read("a: &x [1, 2]\nb: *x")) == {"a": [1, 2], "b": [1, 2]}


def test_alias_bomb_is_refused_in_bounded_time_and_memory() -> None:
    lines = ["a0: &a0 [1,1,1,1,1,1,1,1,1,1]"]
    lines += [f"a{i}: &a{i} [{','.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 60)]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.process_time()
    with pytest.raises(RecipeError, match="values once aliases"):
        read("\n".join(lines))
    assert time.process_time() - start < 2
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 * 1024


def test_a_megabyte_is_read_with_positions() -> None:
    text = "".join(f"key{i}: {{a: {i}, b: 1e-4, c: [x, y]}}\n" for i in range(27000))
    assert len(text) > 1_000_000
    tree = read(text)
    node = find(tree, ("key26999", "b"))
    assert isinstance(node, Scalar)
    assert (node.value, node.span.line) == (1e-4, 27000)


@pytest.mark.parametrize("text", ["a.b[0].c", "x", "data.train[12]"])
def test_paths_are_read_as_they_are_spelt(text: str) -> None:
    assert dotted(split_path(text)) == text


@given(st.text(max_size=300))
def test_no_text_makes_it_fall_over(text: str) -> None:
    try:
        read(text)
    except RecipeError as error:
        assert error.findings  # noqa: PT017  # most texts raise, some do not


KEYS = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), min_size=1, max_size=12)
SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(-(10**18), 10**18), st.floats(allow_nan=False), KEYS, st.just("")
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(KEYS, inner, max_size=4)),
    max_leaves=12,
)


@given(st.dictionaries(KEYS, VALUES, max_size=5))
def test_what_is_written_is_read_back(data: dict) -> None:
    writer = YamlWriter()
    for key, value in data.items():
        writer.entry(key, value, "why")
    if data:
        assert plain(read(writer.result())) == data
        for key in data:
            assert writer.lines[key] >= 1


def test_an_address_needs_no_quotes_in_braces() -> None:
    """The C parser refuses what YAML 1.2 allows; the tree and its places are the same as on lines of their own."""
    node = read_text(Source("a.yaml", "a: {uri: https://x.y/z, 곳: 1}\nb: [http://b:80, 2]\n"))
    assert plain(node) == {"a": {"uri": "https://x.y/z", "곳": 1}, "b": ["http://b:80", 2]}
    assert isinstance(node, Mapping)
    inner = node.entries["b"]
    assert (inner.span.line, inner.span.column) == (2, 4)


def test_what_is_wrong_beside_an_address_is_told() -> None:
    with pytest.raises(RecipeError) as raised:
        read_text(Source("a.yaml", "a: {uri: https://x.y/z, uri: 2}\nb: &c [*c]\n"))
    assert [(one.code, one.span.line if one.span else 0) for one in raised.value.findings] == [("S016", 1), ("S013", 2)]
