"""What a system declares of itself: what it can do, its files, its checks, and what runs it. One protocol for all kinds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from recipec.job import Job
from recipec.plan import Record
from recipec.systems.check import Check
from recipec.systems.document import Sheet
from recipec.systems.on_cpu import OnCpu


class Need(Record, frozen=True):
    """The environment that a stage needs: `base` by name, with `extras` in the words of environment names.

    Without a `base` of its own: any that holds `packages`, or else the one named by `otherwise`. `holds` are the packages
    by which others may find this one. Stages that are `alike` are compared with one another: where one environment holds what
    all of them need, they share it, so that their tools are of the same releases.
    """

    base: str = ""
    extras: frozenset[str] = frozenset()
    packages: frozenset[str] = frozenset()
    otherwise: str = ""
    holds: frozenset[str] = frozenset()
    alike: str = ""


# The fields of turns that a chat template may write beside role and content.
OF_TURNS = frozenset([".tool_calls", ".tool_call_id", ".name", ".reasoning_content"])


def _nothing(_body: Any) -> dict[str, str]:
    return {}


def _none_there(_body: Any, _environment: str) -> dict[str, str]:
    return {}


def _no_checks(_body: Any) -> tuple[Check, ...]:
    return ()


def uses_nothing(_body: Any) -> tuple[str, ...]:
    """Return no paths."""
    return ()


class System(Record, frozen=True):
    """A system, as its module declares it in `SYSTEM`. All functions take the body of a stage of one of its `kinds`.

    `can` maps plan paths to the values that it can do. `sheets` are its files in an environment, `job` is what runs the
    stage, `files` go beside them as they are, and so do `scripts`, which name the environment. `checks` are what it cannot do or does another way, `uses` the plan paths
    that job and files act on. `needs` says which environment it
    runs in, where the release of `package` is its own. `one_process` says why it starts only one process on a CPU.

    `own_program`: what trains is a program of the user, which has its model and data from where it likes.
    `own_loop`: what trains is no Trainer of Hugging Face's, so nothing tells a run that the training began and ended.
    `engines_apart`: where engines have GPUs of their own, a critic and a reward model have too. `scores_apart`: the head of its
    reward models is saved in a file that others do not read. `keeps`: of a batch it keeps `activations` on the GPU for the
    backward pass, and whole `logits` for the loss; what is not said may be kept in pieces, or elsewhere. `scores_tokens`: a
    reward model is given the policy's tokens, not the text. `trains_new_embeddings`: beside an adapter it trains the embeddings
    in full where tokens are new. `own_templates`: it renders turns itself, not by a Jinja template. `dequantises`: the formats
    of quantised checkpoints that it turns into bf16 when it loads them. `fp32_copies`: the strategies under which all weights
    are trained in fp32 whatever they are loaded in, beside ZeRO, where DeepSpeed sees to it. `trusts_code`: it runs the Python code
    of a model whatever the recipe says. `requantises`: the formats of checkpoints in the place of
    which it loads one of bitsandbytes. `guards_fp16`: it computes in fp32 what would be too large for fp16. `joint_length`: max_length bounds
    a prompt and what is sampled after it together.

    `needs_gpu`: nothing of it runs on a CPU. `serves_adapters`: over their base, as they are. `knows_names`: what it serves has a name, and is not asked for by its folder. `gives_likelihoods`: of the tokens of a prompt. `asks_server`: it evaluates what a server answers, not weights.
    `varies` are the words of a server that its own command takes, with the option of each (of what is true or false, `--no-` stands
    before it where it is false). `full_answers` are words of a request by which it writes an answer to its last token, where it does
    not know `ignore_eos`; what asks servers `lays_over` a request what it does not say itself.

    `writes` is the format of the quantised weights that it leaves.

    `watches`: its jobs may have a watcher, which runs beside the stage before. `asks_machine`: they may have a check of the machine.

    `on_cpu`: what stands in for what needs a GPU when it is rehearsed on a CPU, or why nothing of it runs there.

    `alternating` and `without_system` are the names of its own chat templates that refuse turns in which user and assistant do
    not alternate, and a system turn; `writing_tools` of those that write tools and calls of them. `reads` are, for a format,
    the fields of rows that it reads beside the columns of the format, those of turns with a dot before them; None: the program
    reads what it likes. `pairs` are the shapes of an answer beside messages that it reads (`text`, `message`, `messages`),
    where these are not all; `unpaired_turns`: in unpaired preferences it reads a prompt and a completion that are turns.
    """

    name: str
    kinds: frozenset[str]
    sheets: Callable[[Any, str], list[Sheet]]
    needs: Callable[[Any], Need]
    job: Callable[[Any], Job]
    can: Mapping[str, frozenset[str]] = {}
    files: Callable[[Any], dict[str, str]] = _nothing
    scripts: Callable[[Any, str], dict[str, str]] = _none_there
    checks: Callable[[Any], tuple[Check, ...]] = _no_checks
    uses: Callable[[Any], tuple[str, ...]] = uses_nothing
    package: str = ""
    one_process: str = ""
    fp32_copies: frozenset[str] = frozenset()
    own_program: bool = False
    trains_new_embeddings: bool = False
    own_templates: bool = False
    own_loop: bool = False
    engines_apart: bool = False
    keeps: frozenset[str] = frozenset()
    scores_apart: bool = False
    scores_tokens: bool = False
    dequantises: frozenset[str] = frozenset()
    alternating: frozenset[str] = frozenset()
    without_system: frozenset[str] = frozenset()
    writing_tools: frozenset[str] = frozenset()
    reads: Mapping[str, frozenset[str]] | None = None
    pairs: frozenset[str] = frozenset()
    unpaired_turns: bool = False
    trusts_code: bool = False
    requantises: frozenset[str] = frozenset()
    guards_fp16: bool = False
    joint_length: bool = False
    watches: bool = False
    asks_machine: bool = False
    writes: str = ""
    needs_gpu: bool = False
    serves_adapters: bool = False
    knows_names: bool = False
    gives_likelihoods: bool = False
    asks_server: bool = False
    varies: Mapping[str, str] = {}
    full_answers: Mapping[str, Any] = {}
    lays_over: bool = False
    on_cpu: OnCpu = OnCpu()
