from ruamel.yaml.error import StreamMark

class Event:
    start_mark: StreamMark
    end_mark: StreamMark

class StreamEndEvent(Event): ...
class DocumentStartEvent(Event): ...

class AliasEvent(Event):
    anchor: str

class ScalarEvent(Event):
    anchor: str | None
    implicit: tuple[bool, bool]  # whether it needs no tag: written plain, written in quotes
    value: str
    @property
    def tag(self) -> str | None: ...

class SequenceStartEvent(Event):
    anchor: str | None

class SequenceEndEvent(Event): ...

class MappingStartEvent(Event):
    anchor: str | None

class MappingEndEvent(Event): ...
