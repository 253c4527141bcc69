"""What must hold of every compile, whatever went in. Each function returns complaints; none is the right answer."""

import json
import re
from collections.abc import Iterator
from typing import Any
from unicodedata import category, east_asian_width

from recipec import contracts, manifest
from recipec.diagnostics import Finding, errors, render
from recipec.explain import explain
from recipec.facts import pinned
from recipec.pipeline import Compiled
from recipec.secrets import hidden, named_in
from recipec.source import Source, plain
from recipec.yaml_reader import read_text

UNREADABLE = {"S001", "S002", "S003", "S004"}  # there is no text to point into
FILE_CODES = UNREADABLE | {"O001", "O002", "O003", "O004", "O005"}
BREAK = re.compile(r"\r\n|\n|\r")
JUDGED = {"axolotl.yaml": "axolotl", "accelerate.yaml": "accelerate", "ds_config.json": "deepspeed"}


def complaints(compiled: Compiled) -> list[str]:
    """Return everything that is wrong with what came of one recipe."""
    found = [text for finding in compiled.findings for text in unfit(finding)]
    if errors(compiled.findings):
        return found + (["files beside errors"] if compiled.files else [])
    if not compiled.files:
        return [*found, "neither files nor errors"]
    return [*found, *_files(compiled.files)]


def unfit(finding: Finding) -> Iterator[str]:
    """Yield what is wrong with one finding."""
    if not re.fullmatch(r"[A-Z]\d{3}", finding.code):
        yield f"code {finding.code}"
    if finding.severity not in ("error", "warning"):
        yield f"severity {finding.severity}"
    if not finding.message or not (finding.help or finding.suggestion or "expected" in finding.message):
        yield f"{finding.code}: no message, or nothing to do about it"
    row = json.loads(json.dumps(finding.as_json()))
    if row["file"] is None:
        yield f"{finding.code}: no file"
    span = finding.span
    if span is None:
        if finding.code not in FILE_CODES:
            yield f"{finding.code}: no place: {finding.message}"
        return
    lines = BREAK.split(span.source.text)
    if not (1 <= span.line <= span.end_line <= len(lines)):
        yield f"{finding.code}: line {span.line}–{span.end_line} of {len(lines)}"
        return
    line = lines[span.line - 1]
    if not 1 <= span.column <= len(line) + 1:
        yield f"{finding.code}: column {span.column} of {len(line)}"
        return
    if (span.end_line, span.end_column) < (span.line, span.column):
        yield f"{finding.code}: ends before it starts"
    text = line[span.column - 1 : span.end_column - 1 if span.end_line == span.line else None]
    yield from _caret(finding, visible(text))


def visible(text: str) -> str:
    """Show text as a terminal may: tabs as spaces, the rest of what cannot be printed escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text.replace("\t", " "))


def cells(text: str) -> list[str]:
    """Return what each cell of a terminal shows: wide characters take two, marks join the one before."""
    row: list[str] = []
    for char in text:
        if category(char) in ("Mn", "Me") and row:
            row[-1] += char
        else:
            row += [char, ""] if east_asian_width(char) in "WF" else [char]
    return row


def _bare(text: str) -> str:
    """Return text without marks: a span may end within a letter and its marks, a cell may not."""
    return "".join(c for c in text if category(c) not in ("Mn", "Me"))


def _caret(finding: Finding, wanted: str) -> Iterator[str]:
    rendered = render([finding]).split("\n")
    if any(not line.isprintable() for line in rendered):
        yield f"{finding.code}: unprintable output {rendered!r}"
    assert finding.span is not None
    number = str(finding.span.line)
    at = next(i for i, line in enumerate(rendered) if line == " " * len(number) + " |")
    shown, marks = rendered[at + 1], rendered[at + 2]
    head = len(number) + 3
    carets = re.match(r" *\| (.*?)(\^+)(?: |$)", marks)
    if carets is None:
        yield f"{finding.code}: no caret in {marks!r}"
        return
    start = len(carets[1])
    row = cells(shown[head:].ljust(1))
    under = _bare("".join(row[start : start + len(carets[2])]))
    wanted = _bare(wanted)
    if "***" in under:  # what is shown of a secret
        wanted = hidden(wanted, named_in(finding.span.source.text))
    if under.rstrip() == wanted.rstrip() or (under and wanted.startswith(under)) or not wanted.strip():
        return
    yield f"{finding.code}: caret under {under!r}, not {wanted!r}"


def _files(files: dict[str, str]) -> Iterator[str]:
    for name, text in files.items():
        text.encode("utf-8")
        if "\0" in text:
            yield f"{name}: holds NUL"
        if name.endswith((".sh", ".yaml", ".json", ".txt")) and not text.endswith("\n"):
            yield f"{name}: no end of line"
    written = manifest.read(files["plan.json"])
    if manifest.write(written) != files["plan.json"]:
        yield "plan.json: written anew, it is another text"
    stages = {stage.name: stage for stage in written.plan.stages}
    seen: dict[str, dict[str, dict[str, Any]]] = {id: {} for id in stages}
    for name, text in files.items():
        stage, _, file = name.partition("/")
        tool = JUDGED.get(file) or ("lm_eval" if file == "lm_eval.yaml" else None)
        if file.endswith(".json"):
            document: Any = _json(text)
        elif tool is not None:
            document = plain(read_text(Source(name, text)))
        if tool is None:
            continue
        seen[stage][file] = document
        release = pinned(stages[stage].environment, tool.replace("_", "-"))
        part = "ds_config" if tool == "deepspeed" else "config"
        for problem in contracts.load(tool, release).check(part, document):
            yield f"{name}: {problem}"
        lines = text.split("\n")
        for key, place in written.files[name].lines.items():
            if not re.match(r'\s*"?' + re.escape(key)[:1], lines[place.line - 1].replace('"', "").lstrip() or "!"):
                yield f"{name}: {key} is not on line {place.line}"
            for answer in explain(written, f"{name}:{key}"):
                if not answer.because:
                    yield f"{name}: nothing explains {key}"
    for stage, documents in seen.items():
        yield from _batch(documents, written, stages[stage].name)


def _batch(seen: dict[str, dict[str, Any]], written: manifest.Manifest, name: str) -> Iterator[str]:
    """One number, one source: total = micro × accumulation × (world ÷ what shares a sequence), alike in every file."""
    axolotl = seen.get("axolotl.yaml")
    if axolotl is None:
        return
    micro, accumulation, world, total = (
        written.value(path)
        for path in (f"{name}.batch.micro", f"{name}.batch.accumulation", "hardware.world", f"{name}.batch.total")
    )
    share = [written.value(f"{name}.parallel.{word}") for word in ("context_parallel", "tensor_parallel")]
    holders = world // (share[0] * share[1])
    if total != micro * accumulation * holders:
        yield f"batch: {total} != {micro} × {accumulation} × {holders}"
    if [axolotl.get(key, 1) for key in ("context_parallel_size", "tensor_parallel_size")] != share:
        yield "groups: axolotl.yaml disagrees"
    if (axolotl["micro_batch_size"], axolotl["gradient_accumulation_steps"]) != (micro, accumulation):
        yield "batch: axolotl.yaml disagrees"
    deepspeed, accelerate = seen.get("ds_config.json"), seen.get("accelerate.yaml")
    if deepspeed is not None:
        keys = ("train_batch_size", "train_micro_batch_size_per_gpu", "gradient_accumulation_steps")
        if tuple(deepspeed[key] for key in keys) != (total, micro, accumulation):
            yield "batch: ds_config.json disagrees"
        if accelerate is None or accelerate["distributed_type"] != "DEEPSPEED":
            yield "deepspeed without accelerate"
    if (accelerate["num_processes"] if accelerate else 1) != world:
        yield "batch: accelerate.yaml disagrees"


def _json(text: str) -> Any:
    def refuse(word: str) -> None:
        raise ValueError(f"{word} is not JSON")

    return json.loads(text, parse_constant=refuse)
