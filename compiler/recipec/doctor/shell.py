"""Launch scripts: their words with places, the directives of Slurm, and the launchers they call.

A shell is not run, and only its plainest words are understood: what stands in a variable is known if the script itself
sets it to plain text. What cannot be known is left out of every judgement.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from recipec.source import Source, Span

_NAME = r"[A-Za-z_][A-Za-z0-9_]*"
_ASSIGNS = re.compile(rf"({_NAME})=(.*)", re.DOTALL)
_VARIABLE = re.compile(rf"\$(?:({_NAME})|\{{({_NAME})\}})")
_HEREDOC = re.compile(r"<<-?\s*(['\"]?)(\w+)\1")
_DIRECTIVE = re.compile(r"#SBATCH[ \t]+(.*)")
_OPENING = ("if", "for", "while", "until", "case")
_CLOSING = ("fi", "done", "esac")
_NO_CALL = (
    "echo",
    "printf",
    "pip",
    "pip3",
    "uv",
    "conda",
    "which",
    "command",
    "type",
    "hash",
    "cat",
    "ls",
    "grep",
    "pkill",
    "alias",
)
_SHELLS = ("bash", "sh", "dash", "zsh")
# What starts another command; `deepspeed` behind anything else is a name or a folder.
_WRAPPERS = (
    "srun", "env", "nohup", "time", "exec", "sudo", "docker", "podman", "apptainer", "singularity", "enroot", "ssh", "mpirun", "mpiexec",
    "numactl", "nsys", "ncu", "timeout", "stdbuf", "taskset", "nice", "setsid", "screen", "tmux", "conda", "uv", "poetry", "pipenv",
    "if", "then", "else", "do", "while", "until", "!", "{",
)  # fmt: skip
LONGEST = 200  # lines of one command
_SEPARATORS = ("&&", "||", ";;", ";", "|", "&", "(", ")", "\n")

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
    """A word of a command: with its variables filled in as far as the script says, and where it stands.

    `quote` is the one that it begins with, and `places` where each character of the text stands, and its end.
    """

    text: str
    span: Span
    quote: str = ""
    places: tuple[tuple[int, int], ...] = ()

    @property
    def known(self) -> bool:
        """Whether nothing of it depends on something outside the script."""
        return "$" not in self.text and "`" not in self.text


class Directive(NamedTuple):
    """One option of a `#SBATCH` line."""

    name: str
    value: str
    span: Span
    read: bool  # sbatch stops reading them at the first command


class Launch(NamedTuple):
    """A call of a launcher: which, its options, what it starts, and the words before it (`srun` and its options)."""

    launcher: str
    word: Word
    options: dict[str, Word]  # by name, with the word of the value
    places: dict[str, Span]  # where the option itself stands
    program: list[Word]
    before: list[Word]

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
    variables: dict[str, Word]

    def directive(self, *names: str) -> Directive | None:
        """Return the last directive of some names that sbatch reads."""
        return next((d for d in reversed(self.directives) if d.read and d.name in names), None)


def parse(source: Source) -> Script:
    """Return what a script says; nothing in it is ever an error of its own."""
    commands: list[list[Word]] = []
    directives: list[Directive] = []
    launches: list[Launch] = []
    variables: dict[str, Word] = {}
    exported: set[str] = set()
    depth = 0
    for line, text in _logical(source):
        found = _DIRECTIVE.match(text)
        if found:
            directives += _directives(source, line, text, found.start(1), read=not commands)
            continue
        for raw in _commands(source, text, _places(line, text)):
            words = [made for word in raw for made in _filled(word, variables)]
            first = words[0].text if words else ""
            depth += first in _OPENING
            depth -= first in _CLOSING and depth > 0
            while words and (assigned := _ASSIGNS.fullmatch(words[0].text)):
                _assign(variables, assigned, words[0], sure=depth == 0)
                words = words[1:]
            if words and words[0].text in ("export", "declare", "readonly", "local"):
                for word in words[1:]:
                    if words[0].text == "export":
                        exported.add(word.text.partition("=")[0])
                    if assigned := _ASSIGNS.fullmatch(word.text):
                        _assign(variables, assigned, word, sure=depth == 0)
            if words or not commands:
                commands.append(words)  # an assignment is a command too, for sbatch
            launches += _launches(words)
            for before, inner in _inner(source, raw, variables, exported):
                commands.append(inner)
                seen = {launch.word.span for launch in launches}
                found_inside = [launch for launch in _launches(inner) if launch.word.span not in seen]
                launches += [launch._replace(before=before + launch.before) for launch in found_inside]
    return Script(source, directives, [words for words in commands if words], launches, variables)


def _assign(variables: dict[str, Word], assigned: re.Match[str], word: Word, *, sure: bool) -> None:
    """Note a variable; of one that is set in a branch, or to two values, nothing is known."""
    name, text = assigned[1], assigned[2]
    if not sure or (name in variables and variables[name].text != text):
        text = f"${name}"
    variables[name] = Word(text, word.span)


def _logical(source: Source) -> Iterator[tuple[int, str]]:
    """Yield the lines with continuations joined by a line break, without the bodies of here-documents."""
    lines = re.split(r"\r\n|\n|\r", source.text)
    index, until = 0, None
    while index < len(lines):
        start, text = index + 1, lines[index]
        index += 1
        if until is not None:
            until = None if text.strip() == until else until
            continue
        joined, ahead = text, index
        while ahead < min(len(lines), index + LONGEST) and not text.lstrip().startswith("#") and _goes_on(joined):
            joined += "\n" + lines[ahead]
            ahead += 1
        if not _goes_on(joined):  # a quote that is never closed ends with its line
            text, index = joined, ahead
        if (found := _HEREDOC.search(text)) and "<<<" not in text:
            until = found[2]
        yield start, text


def _goes_on(text: str) -> bool:
    """Say whether a logical line goes on below: it ends in a backslash, or within quotes."""
    quote, at = "", 0
    while at < len(text):
        char = text[at]
        if char == "\\" and quote != "'":
            at += 1
        elif quote:
            quote = "" if char == quote else quote
        elif char in "'\"":
            quote = char
        elif char == "#" and (at == 0 or text[at - 1] in " \t\n;"):
            end = text.find("\n", at)
            if end < 0:
                return False
            at = end
        at += 1
    return bool(quote) or at > len(text)


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


def _places(line: int, text: str) -> list[tuple[int, int]]:
    """Return the line and column of each character of a text that begins a line, and of its end."""
    found, column = [], 1
    for char in text:
        found.append((line, column))
        line, column = (line + 1, 1) if char == "\n" else (line, column + 1)
    return [*found, (line, column)]


def _commands(source: Source, text: str, places: Sequence[tuple[int, int]]) -> Iterator[list[Word]]:
    """Yield the commands of a text as words; quotes are taken off, comments left out."""
    words: list[Word] = []
    at, size = 0, len(text)
    while at < size:
        char = text[at]
        if char in " \t" or text.startswith("\\\n", at):
            at += 1 + (char == "\\")
            continue
        if char == "#":
            at = text.find("\n", at) if "\n" in text[at:] else size
            continue
        if separator := next((s for s in _SEPARATORS if text.startswith(s, at)), None):
            at += len(separator)
            if words:
                yield words
            words = []
            continue
        start = at
        value, origins, at = _word(text, at)
        quote = char if char in "'\"" else ""
        span = Span(source, *places[start], *places[at])
        words.append(Word(value, span, quote, tuple(places[origin] for origin in (*origins, at))))
    if words:
        yield words


def _word(text: str, at: int) -> tuple[str, list[int], int]:
    """Return a word without its quotes, whence each of its characters is, and where it ends.

    What is in single quotes keeps its `$` all the same.
    """
    value: list[str] = []
    origins: list[int] = []
    size, depth = len(text), 0

    def take(char: str, origin: int) -> None:
        value.append(char)
        origins.append(origin)

    while at < size:
        char = text[at]
        if char in "'\"" and depth == 0:
            at += 1
            while at < size and text[at] != char:
                escaped = char == '"' and text[at] == "\\" and text[at + 1 : at + 2] in ('"', "\\", "$", "`", "\n")
                at += escaped
                take(" " if escaped and text[at] == "\n" else text[at], at)
                at += 1
            at += 1
        elif char == "\\" and at + 1 < size and text[at + 1] != "\n":
            take(text[at + 1], at + 1)
            at += 2
        elif depth == 0 and (char in " \t\n;|&)" or text.startswith("\\\n", at)):
            break
        else:
            depth += text.startswith(("$(", "${"), at) or (depth > 0 and char in "({")
            if text.startswith(("$(", "${"), at):
                take(char, at)
                at, char = at + 1, text[at + 1]
            elif depth and char in ")}":
                depth -= 1
            take(char, at)
            at += 1
    return "".join(value), origins, min(at, size)


def _inner(
    source: Source, raw: list[Word], variables: dict[str, Word], exported: set[str]
) -> Iterator[tuple[list[Word], list[Word]]]:
    """Yield the commands that a command gives to a shell (`bash -c "…"`), each with the words before that shell.

    Of what is in single quotes, that shell fills in only what the script exports.
    """
    if not raw or raw[0].text in _NO_CALL:
        return
    for index, word in enumerate(raw):
        given = _given(raw[index + 1 :]) if word.text.rsplit("/", 1)[-1] in _SHELLS else None
        if given is None:
            continue
        known = {name: variables[name] for name in exported & variables.keys()} if given.quote == "'" else variables
        for words in _commands(source, given.text, given.places):
            inner = [made for one in words for made in _filled(one, known)]
            while inner and _ASSIGNS.fullmatch(inner[0].text):
                inner = inner[1:]
            yield raw[:index], inner
            yield from ((raw[:index] + before, deeper) for before, deeper in _inner(source, words, known, exported))
        return


def _given(words: list[Word]) -> Word | None:
    """Return what stands behind `-c` among the options of a shell."""
    index = 0
    while index + 1 < len(words) and words[index].text.startswith(("-", "+")):
        option = words[index].text
        if re.fullmatch(r"-[a-z]*c[a-z]*", option):
            return words[index + 1]
        index += 2 if re.fullmatch(r"[-+][a-z]*o", option) else 1
    return None


def _filled(word: Word, variables: dict[str, Word]) -> list[Word]:
    """Return the words that become of a word: without quotes a shell splits what was in a variable."""

    def known(found: re.Match[str]) -> str:
        name = found[1] or found[2]
        return variables[name].text if name in variables else found[0]

    if "$" not in word.text:
        return [word]
    text = _VARIABLE.sub(known, word.text)
    if word.quote or "$(" in text or text == word.text or _ASSIGNS.fullmatch(word.text):
        return [Word(text, word.span, word.quote)]
    return [Word(part, word.span) for part in text.split()]


def _launches(words: list[Word]) -> Iterator[Launch]:
    """Yield the launcher that a command calls, if any: `torchrun`, `accelerate launch`, `deepspeed`, or a tool's own command."""
    texts = [word.text for word in words]
    runs = texts[:1] in (["uv"], ["conda"]) and "run" in texts[1:2]
    if not texts or (texts[0] in _NO_CALL and not runs):
        return
    wraps = texts[0].rsplit("/", 1)[-1] in _WRAPPERS or texts[0].startswith("$")
    for index, text in enumerate(texts):
        if text == "install":  # of a package by this name
            return
        name = text.rsplit("/", 1)[-1]
        follows = texts[index + 1 : index + 3]
        if name == "torchrun":
            skip, launcher = 1, "torchrun"
        elif (
            name.startswith("python")
            and follows[:1] == ["-m"]
            and follows[1:] in (["torch.distributed.run"], ["torch.distributed.launch"])
        ):
            skip, launcher = 3, "torchrun"
        elif name == "accelerate" and follows[:1] == ["launch"]:
            skip, launcher = 2, "accelerate"
        elif name.startswith("python") and follows == ["-m", "accelerate.commands.launch"]:
            skip, launcher = 3, "accelerate"
        elif name == "deepspeed" and follows and (index == 0 or (wraps and ":" not in text)):
            skip, launcher = 1, "deepspeed"
        elif name in TRAINERS and follows[:1] and follows[0] in TRAINERS[name]:
            yield Launch(name, words[index], {}, {}, words[index + 1 :], words[:index])
            return
        else:
            continue
        options, places, program = _options(launcher, words[index + skip :])
        yield Launch(launcher, words[index], options, places, program, words[:index])
        return


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
