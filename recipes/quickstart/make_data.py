"""Write the quickstart's data: a shop assistant who knows in which aisle each thing stands.

`python recipes/quickstart/make_data.py` writes train.jsonl and heldout.jsonl beside this file. Both are committed,
and a test checks that they are what this file writes.

What makes the held-out rows a test of learning, not of memory: for every thing, two of the ways to ask for it are kept
out of training, and held-out rows use only those. Some questions also name a second thing that is not asked for.
"""

import json
import random
from pathlib import Path

SEED = 7
TRAIN_ROWS = 2400
HELDOUT_ROWS = 240
KEPT_OUT = 2  # ways of asking, for each thing, that only held-out rows use

AISLES = {
    "fruit": "apple banana cherry grape lemon mango melon orange peach pear plum apricot",
    "drinks": "tea coffee milk juice water cocoa lemonade cider soda smoothie",
    "clothes": "shirt coat hat scarf sock glove jacket dress skirt sweater",
    "tools": "hammer saw drill wrench axe chisel shovel rake ladder screwdriver",
    "music": "violin piano flute drum guitar trumpet harp cello banjo clarinet",
    "furniture": "chair table sofa desk shelf bed stool bench wardrobe cupboard",
    "paper": "pen pencil crayon chalk marker eraser ruler notebook envelope stapler",
    "toys": "doll kite puzzle ball robot puppet marble rattle balloon teddy",
}

QUESTIONS = (
    "Where do I find the {thing}?",
    "Which aisle has the {thing}?",
    "I need the {thing}, please.",
    "My friend sent me for the {thing}.",
    "Do you sell the {thing} here?",
    "Hello! I am looking for the {thing}.",
    "We have run out of the {thing} at home. Where do I go?",
    "I have the {other} already. Where is the {thing}?",
    "Not the {other}: I came for the {thing}.",
    "Please show me the {thing}. My sister bought the {other}.",
)


def answer(aisle: str) -> str:
    """Return what the assistant says."""
    return f"Go to the {aisle} aisle."


def make() -> tuple[list[dict], list[dict]]:
    """Return the rows for training, in chat format, and the held-out rows, as multiple choice."""
    rng = random.Random(SEED)
    home = {thing: aisle for aisle, things in AISLES.items() for thing in things.split()}
    kept_out = {thing: rng.sample(QUESTIONS, KEPT_OUT) for thing in home}

    def ask(question: str, thing: str) -> str:
        other = rng.choice([name for name in home if home[name] != home[thing]])
        return question.format(thing=thing, other=other)

    train = []
    for _row in range(TRAIN_ROWS):
        thing = rng.choice(list(home))
        question = rng.choice([q for q in QUESTIONS if q not in kept_out[thing]])
        turns = [
            {"role": "user", "content": ask(question, thing)},
            {"role": "assistant", "content": answer(home[thing])},
        ]
        train.append({"messages": turns})
    heldout = []
    for row in range(HELDOUT_ROWS):
        thing = list(home)[row % len(home)]
        question = kept_out[thing][row // len(home) % KEPT_OUT]
        aisles = [home[thing], *rng.sample([aisle for aisle in AISLES if aisle != home[thing]], 3)]
        rng.shuffle(aisles)
        choices = [answer(aisle) for aisle in aisles]
        heldout.append({"question": ask(question, thing), "choices": choices, "answer": aisles.index(home[thing])})
    return train, heldout


def text(rows: list[dict]) -> str:
    """Return rows as JSON lines."""
    return "".join(json.dumps(row) + "\n" for row in rows)


if __name__ == "__main__":
    for name, rows in zip(("train", "heldout"), make(), strict=True):
        Path(__file__).with_name(f"{name}.jsonl").write_text(text(rows), encoding="utf-8")
