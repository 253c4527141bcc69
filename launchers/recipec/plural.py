"""Numbers with the noun that they count."""


def counted(number: float, noun: str) -> str:
    """Return `1 file`, `2 files`, `1,000 processes` or `1.5 minutes`."""
    ending = "" if number == 1 else "es" if noun.endswith(("s", "x", "ch", "sh")) else "s"
    return f"{int(number) if number == int(number) else number:,} {noun}{ending}"
