"""No value of a recipe is dropped in silence: the three laws of laws.py, for every word of the language in every base.

What takes minutes is marked `metamorphic`; a sample runs with everything else. Of most bases some thirds of the leaves are
judged (see `bases.thirds`), unless `--every-leaf` asks for them all.
"""

from random import Random

import pytest
from bases import names, texts, thirds
from known import expected, known
from laws import Fault, Judge, judged_whole

BASES, LEAVES, PARTS = 40, 4, 4  # of the sample


def report(faults: list[Fault]) -> str:
    """Return faults as a person reads them, all those of a base at once."""
    return "\n".join(f"{fault.kind}: {fault.base}: {fault.leaf}: {fault.what}" for fault in faults)


@pytest.mark.metamorphic
@pytest.mark.parametrize("name", names())
def test_the_laws_hold_for_every_word(name: str, request: pytest.FixtureRequest) -> None:
    every = request.config.getoption("--every-leaf")
    faults, judged = judged_whole(name, range(3) if every else thirds().get(name, range(3)))
    was = expected(name)
    new = [fault for fault in faults if (fault.kind, fault.leaf) not in was]
    assert not new, report(new)
    broken = {(fault.kind, fault.leaf) for fault in faults}
    still = {(kind, leaf) for kind, leaf in was if (kind, leaf) in judged}
    mended = sorted(f"{kind} {leaf}" for kind, leaf in still - broken)
    assert not mended, f"no longer broken in {name}: take it out by `python tests/metamorphic/known.py`: {mended}"


@pytest.mark.parametrize("part", range(PARTS))
def test_the_laws_hold_for_a_sample(part: int) -> None:
    chosen = Random(0).sample([*texts()], BASES)
    new = []
    for name in chosen[part::PARTS]:
        judge = Judge(name)
        leaves = list(judge.leaves().values())
        was = expected(name)
        faults = judge.judge(Random(name).sample(leaves, min(LEAVES, len(leaves))))
        new += [fault for fault in faults if (fault.kind, fault.leaf) not in was]
    assert not new, report(new)


@pytest.mark.metamorphic
def test_known_faults_speak_of_bases_and_words_that_there_are() -> None:
    words = {name: tuple(Judge(name).leaves()) for name in texts()}
    for one in known():
        held = [name for name in names() if one.holds(name)]
        assert one.why
        assert held, one
        if one.kind != "circle":  # of a mistake that the language does not read, too
            assert all(any(word.startswith(leaf) for name in held for word in words[name]) for leaf in one.leaves), one
