"""Contradictions about how names are written: what surely is none, wherever it stands."""

from __future__ import annotations

import re
from collections.abc import Iterator

from recipec.language import Recipe
from recipec.rules.rule import Context, Fault, contradiction
from recipec.source import Scalar

HUB = (
    r"(?:https?://)?(?:www\.)?(?:huggingface\.co|hf\.co)/(?:datasets/|models/)?([\w.-]+/[\w.-]+?)(?:\.git)?(?:[/?#].*)?"
)
NAMES = ("base", "tokenizer", "start_from", "hub", "path")


def _texts(see: Context) -> Iterator[tuple[str, str]]:
    for path, node in see.said.nodes.items():
        if isinstance(node, Scalar) and isinstance(node.value, str) and not see.said.unsure((path,)):
            yield path, node.value


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


RULES = (address,)
