"""Numbers with the noun that they count."""

import pytest

from recipec.plural import counted


@pytest.mark.parametrize(
    ("number", "noun", "text"),
    [
        (1, "process", "1 process"),
        (2, "process", "2 processes"),
        (0, "row", "0 rows"),
        (3.0, "epoch", "3 epochs"),
        (1.5, "minute", "1.5 minutes"),
        (2, "batch", "2 batches"),
        (12000, "row", "12,000 rows"),
    ],
)
def test_a_number_and_its_noun_agree(number: float, noun: str, text: str) -> None:
    assert counted(number, noun) == text
