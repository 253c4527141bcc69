"""Which tokens each trainer's own code trains, for families of models and kinds of rows: equal, or told; and every turn's end.

`pytest tests/conformance/test_tokens.py --update` accepts what it finds into docs/tokens.md, but no difference that is not told.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from .tokens.page import page
from .tokens.table import TRAINERS, Table, table

PAGE = Path(__file__).parents[2] / "docs" / "tokens.md"
ENDED = ("turns", "tools", "prompted")
ANSWERS = {"two turns": 2, "the same answer twice": 2, "system prompt, two turns": 2, "a tool that is called": 2}

pytestmark = [pytest.mark.conformance, pytest.mark.xdist_group("tokens")]


@pytest.fixture(scope="module")
def prepared(tool_python: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Table]:
    with pytest.MonkeyPatch.context() as patch:
        place = tmp_path_factory.mktemp("tokens")
        patch.chdir(place)
        yield table(place, tool_python)


def test_rows_are_the_same_or_told(prepared: Table, update: bool) -> None:
    made = page(prepared)
    if update:
        PAGE.write_text(made, encoding="utf-8")
    assert PAGE.read_text(encoding="utf-8") == made


def test_the_end_of_every_answer_is_trained(prepared: Table) -> None:
    asked = set[tuple[str, str]]()
    for (family, group), answers in prepared.items():
        if not (family.end and group in ENDED):
            continue
        for trainer, answer in answers.items():
            for kind, row in answer.rows.items():
                assert len(row.trained) == ANSWERS.get(kind, 1), (family.label, trainer, kind, row)
                for part in row.trained:
                    assert family.end in part, (family.label, trainer, kind, row)
                asked.add((trainer, kind))
    assert {trainer for trainer, _kind in asked} == set(TRAINERS)
    assert len({kind for _trainer, kind in asked}) >= 12


def test_nothing_is_left_out(prepared: Table) -> None:
    """Each trainer prepares every row of a group that it is not refused for."""
    for (family, group), answers in prepared.items():
        first = answers[TRAINERS[0]]
        assert first.rows, (family.label, group, first.refused)
        for trainer, answer in answers.items():
            assert answer.refused or answer.rows.keys() == first.rows.keys(), (family.label, group, trainer)
            assert all(text.startswith(("T001", "D030")) for text in answer.refused), answer.refused
