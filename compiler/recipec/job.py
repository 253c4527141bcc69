"""What runs a stage: a job, which a system hands over and a launcher turns into a script (`recipec.launch`).

Nothing here is text of a shell: an argument vector is words, and what is only known where the job runs (the folder of
the emitted files, the rank of a node, the address of the first) has a word of its own.
"""

from __future__ import annotations

from typing import Literal

from recipec.plan import Record


class Beside(Record, frozen=True):
    """The path of a file that is emitted for the stage."""

    file: str


class Rendezvous(Record, frozen=True):
    """How the processes of several nodes find one another: the rank of this node, or address and port of node 0."""

    of: Literal["rank", "address", "port"]


RANK, ADDRESS, PORT = Rendezvous("rank"), Rendezvous("address"), Rendezvous("port")
Part = str | Beside | Rendezvous
Word = Part | tuple[Part, ...]  # a tuple is one word of several parts


class Argument(Record, frozen=True):
    """An argument that is written on a line of its own, with a remark that says what it holds."""

    words: tuple[Word, ...]
    remark: str = ""


class Folder(Record, frozen=True):
    """A folder that must exist before the program starts."""

    path: str


class Copy(Record, frozen=True):
    """An emitted file of the stage that must stand in a folder."""

    file: str
    folder: str


class LinkToStart(Record, frozen=True):
    """A link to the folder that the recipe's paths start at."""

    path: str


class DropStale(Record, frozen=True):
    """A folder that is dropped when the content of some files has changed since it was made; `why` says so to readers."""

    folder: str
    files: tuple[str, ...]
    why: str


class DropTorn(Record, frozen=True):
    """Folders in a folder that are dropped when one of `files`, JSON that is written last, is missing in them or cut short."""

    folder: str
    files: tuple[str, ...]
    why: str


class Numbered(Record, frozen=True):
    """A variable with a number that nothing else has; a file keeps it, so that it stays the same as long as that is there."""

    variable: str
    file: str
    why: str


Step = Numbered | Folder | Copy | LinkToStart | DropStale | DropTorn


class RayCluster(Record, frozen=True):
    """A Ray cluster of the job's nodes, made for it and ended with it; node 0 submits the program to it."""


class RayJob(Record, frozen=True):
    """A job of the Ray cluster at $RAY_ADDRESS, or of a Ray of this machine alone. It is started once, not on each node."""


class Port(Record, frozen=True):
    """A port of node 0 that the other nodes must reach; `variable` sets another number."""

    variable: str
    number: int
    purpose: str


class Watcher(Record, frozen=True):
    """What runs beside the stage whose result a stage takes first, for as long as that runs; `why` says so to readers.

    `program` gets the number of that stage's process as its last word; `{name}` in `why` is the name of the own stage.
    `steps` come first. `variables` are set for the watched stage; with `imports` the emitted files of the own are on its Python's path.
    `shapes`: the watched stage may come to another result because of it.
    """

    program: tuple[Word, ...]
    why: str
    steps: tuple[Step, ...] = ()
    variables: dict[str, str] = {}
    imports: bool = False
    shapes: bool = False


class Job(Record, frozen=True):
    """What runs one stage.

    `program` is the argument vector. `start` stands before it: what starts its processes on each node (nothing where the
    program is one process or starts its own), or the Ray cluster that does. `arguments` follow the program, a line each.
    `nodes` and `processes` (per node) are what it takes. `resume` is the option that takes the folder of a checkpoint,
    written last; empty where the program reads $RECIPE_RESUME_FROM itself, None where it cannot be told.

    `steps` come before it, on the first node only. `variables` are set for it; `imports_emitted` puts the emitted files on
    Python's path; with `one_gpu` it sees only the first GPU of those that it may use. `shares_cores`: the cores of a node are
    shared out over its processes, for what they compute on the CPU. `ports` are needed between nodes, or are the same
    whenever it runs. With `first_gpus` it takes the first GPUs of a node, whichever it may use. `watcher` runs beside the
    stage before it. `check` are words for any Python, without packages: they say before a run whether the machine can do it, and end
    with another exit code than 0 where it cannot.
    """

    program: tuple[Word, ...]
    start: tuple[Word, ...] | RayCluster | RayJob = ()
    arguments: tuple[Argument, ...] = ()
    nodes: int = 1
    processes: int = 1
    resume: str | None = None
    steps: tuple[Step, ...] = ()
    variables: dict[str, str] = {}
    ports: tuple[Port, ...] = ()
    imports_emitted: bool = False
    one_gpu: bool = False
    shares_cores: bool = False
    first_gpus: bool = False
    watcher: Watcher | None = None
    check: tuple[Word, ...] = ()

    @property
    def on_each_node(self) -> bool:
        """Whether it is started on each of several nodes."""
        return self.nodes > 1 and not isinstance(self.start, RayJob)


MASTER_PORT = Port("MASTER_PORT", 29500, "the rendezvous of the processes")
RAY_PORT = Port("RAY_PORT", 6379, "Ray's head")
