"""Contradictions about how names are written: what surely is none, wherever it stands."""

from __future__ import annotations

import re
from collections.abc import Iterator

from recipec.language import Recipe
from recipec.rules.rule import Context, Fault, contradiction
from recipec.source import Scalar

OPENING = "\u201c\u201d\u201e\u201f\u2018\u2019\u201a\u201b\u00ab\u00bb\u2039\u203a\u300c\u300e\uff02\uff07`"
CLOSING = OPENING + "\u300d\u300f\"'"
PROSE = ("description", "pattern", "bos", "eos", "pad", "unk")  # may hold any character
HUB = (
    r"(?:https?://)?(?:www\.)?(?:huggingface\.co|hf\.co)/(?:datasets/|models/)?([\w.-]+/[\w.-]+?)(?:\.git)?(?:[/?#].*)?"
)
NAMES = ("base", "tokenizer", "start_from", "hub", "path")


def _texts(see: Context) -> Iterator[tuple[str, str]]:
    for path, node in see.said.nodes.items():
        if isinstance(node, Scalar) and isinstance(node.value, str) and not see.said.unsure((path,)):
            yield path, node.value


@contradiction("P270", "typographic-quotes", "recipe", words=("name",))
def typographic_quotes(see: Context, _recipe: Recipe) -> Iterator[Fault]:
    """Finds a value in typographic quotes.

    Why is this bad:
    YAML knows straight quotes only: others become a part of the name, and no such model or file is found. Word processors and
    chat programs put them in the place of straight ones.

    Example:
        model: {base: “my-lab/my-model”}

    Use instead:
        model: {base: "my-lab/my-model"}
    """
    for path, text in _texts(see):
        prose = path.rpartition(".")[2] in PROSE or path.startswith("allow")
        if not prose and len(text) > 1 and text[0] in OPENING and text[-1] in CLOSING:
            bare = text[1:-1]
            message = f"the quotes around {bare} are typographic: YAML takes them as a part of the value"
            yield Fault(path, message, "write straight quotes, or none", bare)


@contradiction("P271", "address-in-the-place-of-a-name", "recipe", words=("name",))
def address(see: Context, _recipe: Recipe) -> Iterator[Fault]:
    """Finds the address of a page in the place of a name on the hub.

    Why is this bad:
    The tools take a name, ORGANISATION/NAME, or a folder. An address is taken for a folder that does not exist.

    Example:
        model: {base: 'https://huggingface.co/meta-llama/Llama-3.1-8B-Instruct'}

    Use instead:
        model: {base: meta-llama/Llama-3.1-8B-Instruct}
    """
    for path, text in _texts(see):
        last, found = path.rpartition(".")[2], re.fullmatch(HUB, text)
        if last not in NAMES:
            continue
        if found is not None and not (last == "path" and path.startswith("data") and "/resolve/" in text):
            advice = "give the name alone" if last != "path" else "give the name alone, as hub: where it is data"
            yield Fault(path, f"{text} is an address, not a name on the hub", advice, found[1])
        elif last not in ("path", "hub") and re.match(r"https?://", text):
            yield Fault(path, f"{text} is an address, not a name on the hub", "download it, and name the folder")


RULES = (typographic_quotes, address)
