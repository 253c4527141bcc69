"""Nearest right name for a misspelt word; nothing else lives here."""

from collections.abc import Iterable


def nearest(word: str, names: Iterable[str], ratio: float = 0.7) -> str | None:
    """Return the name a user most likely meant by `word`, or None when nothing is close.

    A name that begins with the word comes first. Case, and the choice between `-` and `_`, never count as a difference.
    `ratio` is difflib's similarity, from 0 to 1, that is close enough: 0.7 takes one or two slips in a name of usual length.
    """
    from difflib import get_close_matches  # off the success path: only a mistake pays for it

    folded: dict[str, str] = {}
    for name in sorted(names):
        folded.setdefault(name.lower().replace("-", "_"), name)
    wanted = word.lower().replace("-", "_")
    longer = [name for name in folded if len(wanted) > 2 and name.startswith(wanted)]
    if longer:
        return folded[min(longer, key=len)]
    found = get_close_matches(wanted, folded, n=1, cutoff=ratio)
    return folded[found[0]] if found else None
