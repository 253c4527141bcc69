"""Write the quickstart's data: a shopkeeper who picks, of four things on the shelf, the one that was asked for.

Run `python recipes/quickstart/make_data.py` to write train.jsonl and heldout.jsonl beside this file. Both are
committed, and a test checks that they are what this file writes.

What makes the held-out rows a test of learning and not of memory: each thing can be asked for in several ways
(`ASKED_FOR`), and for every thing one or two of those ways are kept out of training altogether. Held-out rows use
only those. A model passes when it has learnt which things are fruit, which requests mean fruit, and how to find the one
on the shelf; having seen the answer before is not possible.
"""

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

SEED = 7
TRAIN_ROWS = 4000
HELDOUT_ROWS = 200
ON_THE_SHELF = 4

THINGS = {
    "fruit": "apple banana cherry grape lemon mango melon orange peach pear plum apricot",
    "drink": "tea coffee milk juice water cocoa lemonade cider soda smoothie",
    "clothing": "shirt coat hat scarf sock glove jacket dress skirt sweater",
    "tool": "hammer saw drill wrench axe chisel shovel rake ladder screwdriver",
    "instrument": "violin piano flute drum guitar trumpet harp cello banjo clarinet",
    "furniture": "chair table sofa desk shelf bed stool bench wardrobe cupboard",
    "stationery": "pen pencil crayon chalk marker eraser ruler notebook envelope stapler",
    "toy": "doll kite puzzle ball robot puppet marble rattle balloon teddy",
}

ASKED_FOR = {
    "fruit": (
        "I would like some fruit.",
        "Something from the orchard, please.",
        "What can I put in a fruit salad?",
        "I want to bake a pie with something that grew on a tree or a vine.",
        "Do you have anything ripe?",
    ),
    "drink": (
        "I am thirsty.",
        "I would like a drink.",
        "What can I pour into a cup?",
        "Something to sip, please.",
        "Do you have anything to fill a bottle with?",
    ),
    "clothing": (
        "I am cold and need something to wear.",
        "I would like some new clothes.",
        "What can I put on for the party?",
        "Something that I can dress in, please.",
        "Do you have anything in my size?",
    ),
    "tool": (
        "I have to repair the shed.",
        "I would like a tool.",
        "What can I work with in the yard?",
        "Something for the builder, please.",
        "Do you have anything for odd jobs?",
    ),
    "instrument": (
        "I want to play a tune.",
        "I would like an instrument.",
        "What can I bring to the orchestra?",
        "Something that makes music, please.",
        "Do you have anything for the band?",
    ),
    "furniture": (
        "I am moving into an empty house.",
        "I would like some furniture.",
        "What can I place in the living room or the bedroom?",
        "Something made by a joiner for my home, please.",
        "Do you have anything to furnish a flat?",
    ),
    "stationery": (
        "I have to do my paperwork.",
        "I would like some stationery.",
        "What can I keep in my pencil case or my office drawer?",
        "Something for school, please.",
        "Do you have anything for the office clerk?",
    ),
    "toy": (
        "I am looking for a birthday present for a small child.",
        "I would like a toy.",
        "What can a toddler have fun with?",
        "Something from the playroom, please.",
        "Do you have anything for the nursery?",
    ),
}


class Row(NamedTuple):
    """One request to the shopkeeper, the things on the shelf, and which of them is the right one."""

    request: str
    shelf: tuple[str, ...]
    right: int

    @property
    def question(self) -> str:
        """What the customer says."""
        return f"{self.request} On the shelf: {', '.join(self.shelf)}."

    @property
    def answer(self) -> str:
        """What the shopkeeper says."""
        return f"Take the {self.shelf[self.right]}."


def main() -> None:
    """Write both files beside this one."""
    here = Path(__file__).parent
    for name, text in files().items():
        (here / name).write_text(text, encoding="utf-8")


def files() -> dict[str, str]:
    """Give the text of each data file by its name."""
    random_ = random.Random(SEED)
    trained, kept_out = split_requests(random_)
    train = sorted(take(TRAIN_ROWS, trained, random_), key=lambda _: random_.random())
    heldout = sorted(take(HELDOUT_ROWS, kept_out, random_), key=lambda _: random_.random())
    return {
        "train.jsonl": lines(chat(row) for row in train),
        "heldout.jsonl": lines(
            {"question": row.question, "choices": [f"Take the {thing}." for thing in row.shelf], "answer": row.right}
            for row in heldout
        ),
    }


def split_requests(random_: random.Random) -> tuple[list[tuple[str, str, str]], list[tuple[str, str, str]]]:
    """Deal out every (kind, thing, request): those to train on, and for each thing one that is kept out."""
    trained, kept_out = [], []
    for kind, things in THINGS.items():
        for thing in things.split():
            hidden = random_.randrange(len(ASKED_FOR[kind]))
            for number, request in enumerate(ASKED_FOR[kind]):
                (kept_out if number == hidden else trained).append((kind, thing, request))
    return trained, kept_out


def take(count: int, asked: list[tuple[str, str, str]], random_: random.Random) -> Iterator[Row]:
    """Yield `count` different rows, going round `asked` so that each of its requests comes equally often."""
    seen: set[str] = set()
    while len(seen) < count:
        kind, thing, request = asked[len(seen) % len(asked)]
        others = random_.sample([other for other in THINGS if other != kind], ON_THE_SHELF - 1)
        shelf = [random_.choice(THINGS[other].split()) for other in others]
        right = random_.randrange(ON_THE_SHELF)
        shelf.insert(right, thing)
        row = Row(request, tuple(shelf), right)
        if row.question not in seen:
            seen.add(row.question)
            yield row


def chat(row: Row) -> dict[str, object]:
    """Give a row as a conversation."""
    return {
        "messages": [{"role": "user", "content": row.question}, {"role": "assistant", "content": row.answer}]
    }


def lines(rows: Iterator[dict[str, object]]) -> str:
    """Give rows as JSON lines."""
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


if __name__ == "__main__":
    main()
