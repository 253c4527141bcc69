"""What is decided stays as it is decided: every record of the plan is frozen."""

from collections.abc import Iterator

import recipec.manifest  # noqa: F401  # declares records
from recipec.kinds import kind
from recipec.plan import Record
from recipec.systems.registry import REGISTRY, system


def below(record: type[Record]) -> Iterator[type[Record]]:
    for one in record.__subclasses__():
        yield one
        yield from below(one)


def test_every_record_is_frozen() -> None:
    for name in REGISTRY:
        for what in system(name).kinds:
            kind(what)  # imports the modules that declare the others
    records = [*below(Record)]
    assert len(records) > 30
    assert [one.__name__ for one in records if not one.__struct_config__.frozen] == []
