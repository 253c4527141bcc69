"""Numbers with the noun that they count, and words in a row."""

from collections.abc import Sequence


def counted(number: float, noun: str) -> str:
    """Return `1 file`, `3 epochs`, `1,000 processes` or `1.5 minutes`."""
    ending = "" if number == 1 else "es" if noun.endswith(("s", "x", "sh", "tch")) else "s"
    return f"{number if isinstance(number, int) or not number.is_integer() else int(number):,} {noun}{ending}"


def listed(words: Sequence[str]) -> str:
    """Return `one`, `one and two` or `one, two and three`."""
    *most, last = words
    return f"{', '.join(most)} and {last}" if most else last
