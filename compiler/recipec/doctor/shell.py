"""Launch scripts: their words with places, the directives of Slurm, and the launchers they call.

A shell is not run, and only its plainest words are understood: what stands in a variable is known if the script itself
sets it to plain text. What cannot be known is left out of every judgement.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import takewhile
from typing import NamedTuple

from recipec.doctor.shell_lexer import PlacedText, RawWord, commands, logical_lines
from recipec.source import Source, Span

_NAME = r"[A-Za-z_][A-Za-z0-9_]*"
_ASSIGNS = re.compile(rf"({_NAME})\+?=(.*)", re.DOTALL)
_VARIABLE = re.compile(rf"\$(?:({_NAME})|\{{({_NAME})(?:\[[@*]\])?(?::?[-=]([^{{}}$]*))?\}})")
_ARRAY = re.compile(rf"({_NAME})(\+?)=\((.*)\)", re.DOTALL)
_SUM = re.compile(r"\$\(\(([\w\s+*/()-]{1,100})\)\)")
# The folder that the script itself lies in, as people write it.
_OWN_FILE = r"""["']?\$(?:0|\{0\}|BASH_SOURCE|\{BASH_SOURCE(?:\[0\])?\})["']?"""
_DIRNAME = (
    rf"""["']?\$\(\s*dirname\s+(?:--\s+)?(?:["']?\$\((?:realpath|readlink\s+-f)\s+)?{_OWN_FILE}(?:\)["']?)?\s*\)["']?"""
)
_FOLDER = re.compile(
    rf"""\$\(\s*cd\s+(?:--\s+|-P\s+)?{_DIRNAME}\s*(?:>\s*/dev/null(?:\s+2>&1)?\s*)?(?:&&|;)\s*pwd(?:\s+-[PL])?\s*\)|{_DIRNAME}"""
)
_HERE = ("localhost", "127.0.0.1", "0.0.0.0", "::1")  # as a default, it is for one machine
# What Slurm sets for a job, and the option of `#SBATCH` that says it.
_SLURM = {"nodes": ("SLURM_NNODES", "SLURM_JOB_NUM_NODES"), "ntasks": ("SLURM_NTASKS", "SLURM_NPROCS")}
_DIRECTIVE = re.compile(r"#SBATCH[ \t]+(.*)")
_OPENING = ("if", "for", "while", "until", "case")
_CLOSING = ("fi", "done", "esac")
# What calls no launcher, whatever is behind it (but `conda run` and `uv run` do).
_NO_CALL = (
    "echo", "printf", "pip", "pip3", "uv", "conda", "mamba", "which", "command", "type", "hash", "cat", "ls", "grep", "pgrep", "pkill",
    "alias", "for", "[", "[[", "install",
)  # fmt: skip
_SHELLS = ("bash", "sh", "dash", "zsh")
_READERS = ("eval", "ssh", "pdsh", "tmux")  # they give what is quoted behind them to a shell
_ELSEWHERE = ("ssh", "pdsh", "docker", "podman", "kubectl")  # there the variables of this machine are unknown
# What starts another command; `deepspeed` behind anything else is a name or a folder.
_WRAPPERS = (
    "srun", "env", "nohup", "time", "exec", "sudo", "docker", "podman", "apptainer", "singularity", "enroot", "ssh", "mpirun", "mpiexec",
    "numactl", "nsys", "ncu", "timeout", "stdbuf", "taskset", "nice", "ionice", "setsid", "screen", "tmux", "conda", "uv", "poetry",
    "pipenv", "eval", "flock", "kubectl", "if", "then", "else", "do", "while", "until", "!", "{",
)  # fmt: skip
_NAMES = ("-n", "-J", "-o", "--name", "--job-name", "--output")  # behind these stands a name, whatever it is called
MOST = 10_000  # characters of a variable
_MODULES = {
    "torch.distributed.run": "torchrun",
    "torch.distributed.launch": "torchrun",
    "accelerate.commands.launch": "accelerate",
    "deepspeed.launcher.runner": "deepspeed",
}

# Options of each launcher as its own parser lists them (torch 2.13, accelerate 1.15, DeepSpeed 0.19); the second: those without a value.
OPTIONS = {
    "torchrun": (
        "duplicate_stderr_filters duplicate_stdout_filters event_log_handler help local_addr local_ranks_filter log_dir logs_specs m "
        "master_addr master_port max_restarts module monitor_interval nnodes no_python node_rank nproc_per_node numa_binding r rdzv_backend "
        "rdzv_conf rdzv_endpoint rdzv_id redirects role run_path shutdown_timeout signals_to_handle standalone start_method t tee use_env "
        "virtual_local_rank",
        "h help m module no_python run_path standalone use_env virtual_local_rank",
    ),
    "accelerate": (
        "config_file cpu debug deepspeed_config_file deepspeed_exclusion_filter deepspeed_hostfile deepspeed_inclusion_filter "
        "deepspeed_moe_layer_cls_names deepspeed_multinode_launcher downcast_bf16 dynamo_backend dynamo_mode dynamo_use_dynamic "
        "dynamo_use_fullgraph dynamo_use_regional_compilation enable_cpu_affinity env gpu_ids gradient_accumulation_steps gradient_clipping "
        "help log_dir m machine_rank main_process_ip main_process_port main_training_function max_restarts mixed_precision module "
        "monitor_interval mpirun_hostfile multi_gpu no_python num_cpu_threads_per_process num_machines num_processes offload_optimizer_device "
        "offload_optimizer_nvme_path offload_param_device offload_param_nvme_path q quiet rdzv_backend rdzv_conf role same_network t tee tpu "
        "use_deepspeed use_fsdp use_megatron_lm use_parallelism_config zero3_init_flag zero3_save_16bit_model zero_stage "
        "fsdp_activation_checkpointing fsdp_activation_checkpointing_offload fsdp_auto_wrap_policy fsdp_backward_prefetch fsdp_cpu_ram_efficient_loading fsdp_forward_prefetch "
        "fsdp_min_num_params fsdp_offload_params fsdp_reshard_after_forward fsdp_sharding_strategy fsdp_state_dict_type "
        "fsdp_sync_module_states fsdp_transformer_layer_cls_to_wrap fsdp_use_orig_params fsdp_version",
        "cpu debug downcast_bf16 dynamo_use_dynamic dynamo_use_fullgraph dynamo_use_regional_compilation enable_cpu_affinity h help m module "
        "multi_gpu no_python q quiet same_network tpu use_deepspeed use_fsdp use_megatron_lm use_parallelism_config",
    ),
    "deepspeed": (
        "H autotuning bind_core_list bind_cores_to_rank e enable_each_rank_log exclude force_multi help hostfile i include launcher "
        "launcher_args log_level master_addr master_port module no_local_rank no_python no_ssh no_ssh_check node_rank num_accelerators "
        "num_gpus num_nodes q quiet save_pid ssh_port venv_script",
        "bind_cores_to_rank force_multi h help module no_local_rank no_python no_ssh no_ssh_check q quiet save_pid",
    ),
}  # fmt: skip
TRAINERS = {
    "axolotl": ("train",),
    "llamafactory-cli": ("train",),
    "trl": ("sft", "dpo", "grpo", "kto", "reward", "rloo"),
}


class Word(NamedTuple):
    """A word of a command: with its variables filled in as far as the script says, and where it stands."""

    text: str
    span: Span

    @property
    def known(self) -> bool:
        """Whether nothing of it depends on something outside the script."""
        return "$" not in self.text and "`" not in self.text

    @property
    def name(self) -> str:
        """The command that it is, without its folder; "" where it cannot be one."""
        return "" if re.search(r"^-|[\s:]", self.text) else self.text.rsplit("/", 1)[-1]


class Directive(NamedTuple):
    """One option of a `#SBATCH` line."""

    name: str
    value: str
    span: Span
    read: bool  # sbatch stops reading them at the first command


class Launch(NamedTuple):
    """A call of a launcher: which, its options, what it starts, the words before it (`srun` and its options), and what it sees."""

    launcher: str
    word: Word
    options: dict[str, Word]  # by name, with the word of the value
    places: dict[str, Span]  # where the option itself stands
    program: list[Word]
    before: list[Word]
    variables: dict[str, Word]
    late: bool = False  # a shell on each node fills in what its options hold

    def integer(self, *names: str) -> tuple[int, Word] | None:
        """Return the whole number that one of some options gives, with its word."""
        for name in names:
            word = self.options.get(name)
            if word is not None and word.text.isdecimal() and len(word.text) < 8:
                return int(word.text), word
        return None


class Script(NamedTuple):
    """What a launch script says."""

    source: Source
    directives: list[Directive]
    commands: list[list[Word]]
    launches: list[Launch]
    seen: list[dict[str, Word]]  # of each command, what variables it sees

    def directive(self, *names: str) -> Directive | None:
        """Return the last directive of some names that sbatch reads."""
        return next((d for d in reversed(self.directives) if d.read and d.name in names), None)


def parse(source: Source) -> Script:
    """Return what a script says; nothing in it is ever an error of its own."""
    script = Script(source, [], [], [], [])
    shell = _Shell({})
    for line, text in logical_lines(source):
        if found := _DIRECTIVE.match(text):
            given = list(_directives(source, line, text, found.start(1), read=not script.commands))
            script.directives.extend(given)
            for directive in given:
                for name in _SLURM.get(directive.name, ()) if directive.value.isdecimal() and directive.read else ():
                    shell.variables[name] = Word(directive.value, directive.span)
            continue
        for words, launch, sees in shell.run(PlacedText(source, line, text)):
            if words or not script.commands:
                script.commands.append(words)  # an assignment is a command too, for sbatch
                script.seen.append(sees)
            if launch:
                script.launches.append(launch)
    kept = [number for number, words in enumerate(script.commands) if words]
    return script._replace(
        commands=[script.commands[number] for number in kept], seen=[script.seen[number] for number in kept]
    )


class _Shell:
    """What a shell knows as it goes: its variables, which of them it hands on, and whether it is in a branch."""

    def __init__(self, variables: dict[str, Word], before: Sequence[Word] = (), *, late: bool = False) -> None:
        self.variables, self.exported = variables, set(variables)
        self.before, self.depth, self.late = before, 0, late

    def run(self, text: PlacedText) -> Iterator[tuple[list[Word], Launch | None, dict[str, Word]]]:
        """Yield each command with the launcher that it calls; behind it the commands of the shells that it calls."""
        for raws in commands(text):
            filled = [(raw, _filled(raw, self.variables)) for raw in raws]
            words = [word for _, made in filled for word in made]
            whole = [raw if len(made) == 1 else None for raw, made in filled for _ in made]
            given = self._assigned(words)
            begin = len(list(takewhile(_assigns, words)))
            words, whole = words[begin:], whole[begin:]
            inside = list(_inside(words))
            sees = self.variables | given
            launch = _launch(words[: inside[0]] if inside else words, self.before, sees)
            yield words, launch._replace(late=self.late) if launch else None, sees
            for at in inside:
                if (script := whole[at]) is not None:
                    called = [*self.before, *words[:at]]
                    late = script.quote == "'" or "\\$" in _written(script.span)
                    yield from _Shell(self._seen(script, called) | given, called, late=late).run(script.inner())

    def _assigned(self, words: list[Word]) -> dict[str, Word]:
        """Note what a command assigns, and return what it sets for itself alone (`A=1 torchrun`, `env A=1 torchrun`)."""
        first = words[0].text if words else ""
        self.depth += first in _OPENING
        self.depth -= first in _CLOSING and self.depth > 0
        own = list(takewhile(_assigns, words))
        rest = words[len(own) :]
        declares = bool(rest) and rest[0].text in ("export", "declare", "readonly", "local")
        for word in words if declares or not rest else ():
            assigned = _assigns(word)
            if assigned and (word.text[len(assigned[1])] == "+" or _ARRAY.fullmatch(word.text)):
                assigned = self._joined(assigned, word.text)
            if assigned:
                _assign(self.variables, assigned, word, sure=self.depth == 0)
        if declares and rest[0].text == "export":
            self.exported |= {word.text.partition("=")[0] for word in rest[1:]}
        behind = [takewhile(_assigns, rest[at + 1 :]) for at, word in enumerate(rest) if word.name == "env"]
        found = [(_assigns(word), word.span) for some in (own if rest else (), *behind) for word in some]
        return {assigned[1]: Word(assigned[2], span) for assigned, span in found if assigned}

    def _joined(self, assigned: re.Match[str], written: str) -> re.Match[str] | None:
        """Return the assignment of plain text that a list (`A=(1 2)`) or an addition (`A+=" 3"`) amounts to."""
        name, text = assigned[1], assigned[2]
        listed = _ARRAY.fullmatch(written)
        text = " ".join(listed[3].split()) if listed else text
        if written[len(name)] == "+":
            before = self.variables.pop(name, None)
            text = (before.text if before else f"${name}") + (" " if listed else "") + text
        return _ASSIGNS.fullmatch(f"{name}={text}")

    def _seen(self, script: RawWord, called: list[Word]) -> dict[str, Word]:
        """Return the variables that another shell sees; what is not in single quotes is filled in before."""
        if script.quote != "'" or called[-1].name == "eval":
            return dict(self.variables)
        if any(word.name in _ELSEWHERE for word in called):
            return {}
        return {name: word for name, word in self.variables.items() if name in self.exported}


def _assigns(word: Word) -> re.Match[str] | None:
    return _ASSIGNS.fullmatch(word.text)


def _assign(variables: dict[str, Word], assigned: re.Match[str], word: Word, *, sure: bool) -> None:
    """Note a variable; of one that is set in a branch, to two values or to a very long one, nothing is known."""
    name, text = assigned[1], assigned[2]
    if not sure or len(text) > MOST or (name in variables and variables[name].text != text):
        text = f"${name}"
    variables[name] = Word(text, word.span)


def _directives(source: Source, line: int, text: str, begin: int, *, read: bool) -> Iterator[Directive]:
    words = [(match[0], match.start()) for match in re.finditer(r"[^\s#]\S*", text[begin:].split(" #")[0])]
    index = 0
    while index < len(words):
        word, at = words[index]
        index += 1
        if not word.startswith("-"):
            continue
        name, equals, value = word.partition("=")
        end = at + len(word)
        if not equals:
            if not word.startswith("--") and len(word) > 2:
                name, value = word[:2], word[2:]
            elif index < len(words) and not words[index][0].startswith("-"):
                value, place = words[index]
                end = place + len(value)
                index += 1
        short = {
            "-N": "nodes",
            "-n": "ntasks",
            "-c": "cpus-per-task",
            "-G": "gpus",
            "-o": "output",
            "-e": "error",
            "-J": "job-name",
            "-t": "time",
        }
        span = Span(source, line, begin + at + 1, line, begin + end + 1)
        yield Directive(short.get(name, name.lstrip("-").replace("_", "-")), value, span, read)


def _filled(word: RawWord, variables: dict[str, Word]) -> list[Word]:
    """Return the words that become of a word: without quotes a shell splits what was in a variable."""

    def known(found: re.Match[str]) -> str:
        name = found[1] or found[2]
        if name in variables:
            return variables[name].text
        return found[3] if found[3] is not None and found[3] not in _HERE else found[0]

    text = _VARIABLE.sub(known, _FOLDER.sub(".", word.text))
    text = _SUM.sub(partial(_reckoned, variables), text)
    array = re.fullmatch(rf"\$\{{({_NAME})\[@\]\}}", word.text)
    if (word.quote and not array) or text == word.text or _ASSIGNS.fullmatch(word.text) or _ARRAY.fullmatch(word.text):
        return [Word(text, word.span)]
    return [Word(part, word.span) for part in _split(text)]


def _reckoned(variables: dict[str, Word], found: re.Match[str]) -> str:
    """Return what `$((2 * 8))` makes; anything else stays as it is."""
    total: int | None = None
    parts = re.findall(r"\w+|[-+*/]", found[1]) if "(" not in found[1] else []
    parts = [variables[part].text if part in variables else part for part in parts]
    for sign, number in zip(["+", *parts[1::2]], parts[::2], strict=False):
        if not number.isdecimal() or len(number) > 9 or (total is not None and sign in "+-" and len(parts) > 3):
            return found[0]  # a precedence that is not worth a parser
        value = int(number)
        if total is None:
            total = value
        elif sign == "/" and value == 0:
            return found[0]
        else:
            total = {"+": total + value, "-": total - value, "*": total * value, "/": total // max(value, 1)}[sign]
    return found[0] if total is None or len(parts) % 2 == 0 else str(total)


def _split(text: str) -> list[str]:
    """Return the words that a shell makes of a variable's text; what a command prints in it stays in one piece."""
    return re.findall(r"(?:\$\([^()]*(?:\([^()]*\)[^()]*)*\)|`[^`]*`|\S)+", text)


def _written(span: Span) -> str:
    """Return the text of a script at a place, with its quotes."""
    begin, end = span.offsets()
    return span.source.text[begin:end]


def _calls_nothing(words: list[Word], index: int) -> bool:
    """Return whether a word begins what calls no launcher."""
    behind = words[index + 1].text if index + 1 < len(words) else ""
    return words[index].name in _NO_CALL and behind != "run" and not _is_name(words, index)


def _is_name(words: list[Word], index: int) -> bool:
    return index > 0 and words[index - 1].text in _NAMES


def _inside(words: list[Word]) -> Iterator[int]:
    """Yield which words another shell reads: the one behind `bash -c`, and what is quoted behind `eval` or `ssh`."""
    for index, word in enumerate(words):
        if _calls_nothing(words, index):
            return
        if word.name in _READERS:
            yield from (at for at in range(index + 1, len(words)) if re.search(r"\s", words[at].text))
            return
        if word.name in _SHELLS:
            behind = [word.text for word in words[index + 1 :]]
            if index and words[index - 1].text == "--entrypoint":  # its options are behind the name of the image
                skip = next((at for at, text in enumerate(behind) if text in ("-c", "-lc")), len(behind))
            else:
                skip = 0
            at = _script(behind[skip:])
            if at is not None:
                yield index + 1 + skip + at
            return


def _script(words: list[str]) -> int | None:
    """Return which of the words behind a shell is what it reads: the first behind its options, if `-c` is one."""
    index, reads = 0, False
    while index < len(words) and words[index].startswith(("-", "+")):
        reads = reads or bool(re.fullmatch(r"-[a-z]*c[a-z]*", words[index]))
        index += 2 if re.fullmatch(r"[-+][a-z]*[oO]", words[index]) else 1
    return index if reads and index < len(words) else None


def _launch(words: list[Word], before: Sequence[Word], variables: dict[str, Word]) -> Launch | None:
    """Return the launcher that a command calls, if any: `torchrun`, `accelerate launch`, `deepspeed`, or a tool's own command."""
    texts = [word.text for word in words]
    wraps = bool(words) and (words[0].name in _WRAPPERS or texts[0].startswith("$"))
    for index, word in enumerate(words):
        name, behind = word.name, texts[index + 1 : index + 9]
        if _calls_nothing(words, index) or name.endswith((".py", ".sh")):
            return None
        launcher, skip = "", 1
        if _is_name(words, index):
            continue
        if re.fullmatch(r"python[\d.]*", name):
            launcher, skip = _module(behind)
            if not launcher:
                return None  # a program, whatever its arguments are called
        elif name in ("torchrun", "accelerate-launch"):
            launcher = name.removesuffix("-launch")
        elif name == "accelerate" and behind[:1] == ["launch"]:
            launcher, skip = name, 2
        elif name == "deepspeed" and behind and (index == 0 or wraps):
            launcher = name
        elif name in TRAINERS and behind[:1] and behind[0] in TRAINERS[name]:
            return Launch(name, word, {}, {}, words[index + 1 :], [*before, *words[:index]], variables)
        if launcher:
            options, places, program = _options(launcher, words[index + skip :])
            return Launch(launcher, word, options, places, program, [*before, *words[:index]], variables)
    return None


def _module(words: list[str]) -> tuple[str, int]:
    """Return the launcher that Python runs as a module, or "", and how many words call it, Python's own among them."""
    index = 0
    while index < len(words) and words[index].startswith("-") and words[index] not in ("-m", "-c"):
        index += 2 if words[index] in ("-X", "-W") else 1
    module = words[index + 1] if words[index : index + 1] == ["-m"] and index + 1 < len(words) else ""
    return _MODULES.get(module, ""), index + 3


def _options(launcher: str, words: list[Word]) -> tuple[dict[str, Word], dict[str, Span], list[Word]]:
    """Split the words after a launcher into its options and what it starts."""
    flags = set(OPTIONS[launcher][1].split())
    options: dict[str, Word] = {}
    places: dict[str, Span] = {}
    index = 0
    while index < len(words):
        word = words[index]
        if not word.text.startswith("-") or word.text == "--":
            break
        name, equals, value = word.text.partition("=")
        name = name.lstrip("-").replace("-", "_")
        index += 1
        places[name] = word.span
        if equals:
            options[name] = Word(value, word.span)
        elif name in flags:
            options[name] = word
            if name in ("m", "module"):
                break
        elif index < len(words):
            options[name] = words[index]
            index += 1
        else:
            options[name] = word
    return options, places, words[index:]
