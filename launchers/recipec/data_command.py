"""`recipe data`: the training data of a recipe as the model will see it, prepared by the trainer's own code."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from recipec import snapshot
from recipec.diagnostics import Finding, RecipeError
from recipec.environments import folder_of, is_complete
from recipec.kinds.train.records import DataSource, Train
from recipec.output import write
from recipec.pipeline import Compiled
from recipec.plan import Stage
from recipec.preview import checks, raw_rows, token_snapshot
from recipec.preview.rows import Answer, Row, SourcePreview, SourceRows, StagePreview
from recipec.preview.text import histogram
from recipec.processes import Child, Signals
from recipec.source import Span
from recipec.systems.trainers import GENERAL

DEFAULT_ROWS = 3  # shown from each source
MAX_ROWS = 20_000  # read from each source to measure lengths
SCRIPTS = Path(__file__).parent / "preview" / "scripts"
TEMPLATE_SCRIPT = SCRIPTS / "by_template.py"  # for trainers without a script that calls their own preparation
FAILURE_LINES = 15  # lines shown of a failed preparation


def _script(trainer: str) -> Path | None:
    """Return the script that calls a trainer's own preparation; None where there is none."""
    path = SCRIPTS / f"by_{trainer}.py"
    return path if path.exists() else None


class PreviewFailure(Exception):
    """The trainer's own code could not prepare the rows; `lines` are the last lines of its output."""

    def __init__(self, message: str, lines: Sequence[str]) -> None:
        super().__init__(message)
        self.lines = tuple(lines)


class Preview(NamedTuple):
    """The previews of a recipe's training stages, JSON-ready, and what is wrong with them."""

    stages: list[StagePreview]
    findings: list[Finding]
    differences: list[str] = []  # from the snapshot, as diffs
    snapshot: str | None = None  # the file that was written


def preview(
    compiled: Compiled, file: str, *, stage: str | None = None, rows: int = DEFAULT_ROWS, write_snapshot: bool = False
) -> Preview:
    """Return the rows of a compiled recipe's training stages, or only of `stage`, as the model will see them.

    They are compared with the snapshot next to the recipe, if there is one; with `write_snapshot`, the snapshot is
    written instead. Raises RecipeError for an unknown stage or missing data, PreviewFailure when the trainer's code fails.
    """
    assert compiled.resolved is not None
    path = snapshot.path_of(file, compiled.name)
    earlier = None if write_snapshot else snapshot.read(path)
    trainings: list[Stage[Train]] = list(compiled.resolved.plan.of_kind("train"))
    chosen = [one for one in trainings if stage in (None, one.name)]
    if not chosen:
        known = ", ".join(one.name for one in trainings) or "none"
        message = f'the recipe has no training stage "{stage}"' if stage else "the recipe has no training stage"
        raise RecipeError([Finding("D095", message, help=f"its training stages: {known}", file=file)])
    stages: list[StagePreview] = []
    findings: list[Finding] = []
    for one in chosen:
        spans = _spans(compiled, one.body)
        _check_files(one.body, spans, file)
        shown = preview_stage(compiled, one, file, max(rows, earlier["rows"] if earlier else 0))
        stages.append(shown)
        findings += checks.findings(shown, spans, file)
    differences: list[str] = []
    for name, number, text in (
        token_snapshot.differences(earlier, [one for one in stages if one["versions"]]) if earlier else []
    ):
        span = next(_spans(compiled, one.body)[number] for one in chosen if one.name == name)
        message = f"the tokens or masks differ from {path.name}"
        advice = f"if this is intended, `recipe data {file} --snapshot` updates it"
        findings.append(Finding("D097", message, span, help=advice, file=None if span else file))
        differences.append(text)
    if write_snapshot:
        _write_snapshot(path, stages, [one.body for one in chosen], rows, file)
    for shown in stages:
        for source in shown["sources"]:
            source["rows"] = source["rows"][:rows]
    return Preview(stages, findings, differences, str(path) if write_snapshot else None)


def _write_snapshot(
    place: Path, stages: Sequence[StagePreview], trainings: Sequence[Train], rows: int, file: str
) -> None:
    """Write the snapshot. Raises RecipeError when there are no tokens, or it cannot be written."""
    for shown in stages:
        if not shown["versions"]:
            raise RecipeError([Finding("D098", f"no snapshot: {shown['notes'][0]}", file=file)])
    try:
        place.write_text(token_snapshot.snapshot_text(stages, trainings, rows), encoding="utf-8")
    except OSError as error:
        raise RecipeError([Finding("D098", f"no snapshot: {error.strerror}", file=str(place))]) from None


def _spans(compiled: Compiled, stage: Train) -> list[Span | None]:
    """Return the place in the recipe that names each source."""
    assert compiled.resolved is not None
    origins = compiled.resolved.origins
    found: list[Span | None] = []
    for index, source in enumerate(stage.data.train):
        key = "path" if source.path is not None else "hub"
        origin = origins.get(f"{stage.name}.data.train.{index}.{key}")
        found.append(origin.span if origin is not None else None)
    return found


def _check_files(stage: Train, spans: Sequence[Span | None], file: str) -> None:
    wrong = [
        Finding("D094", f"no file {source.path}", span, help="paths are relative to the current folder", file=file)
        for source, span in zip(stage.data.train, spans, strict=True)
        if source.path is not None and not Path(source.path).is_file() and not Path(source.path).is_dir()
    ]
    if wrong:
        raise RecipeError(wrong)


def preview_stage(compiled: Compiled, whole: Stage[Train], file: str, rows: int) -> StagePreview:
    """Return the preview of one training stage. Its notes say what could not be shown, and how to change that."""
    stage = whole.body
    python, note = _python(compiled, stage, file)
    answer = Answer()
    if python is not None:
        answer = _prepare(python, compiled, whole, rows)
        if "missing" in answer:
            note = (
                f"{answer['missing']} is not in the local cache of the hub, and `recipe data` downloads nothing: "
                f"run `{python.parent / 'hf'} download {answer['missing']} --include '*.json' '*.jinja' '*.model'`"
            )
    notes = [*([note] if note else []), *answer.get("notes", [])]
    sources: list[SourcePreview] = []
    for index, source in enumerate(stage.data.train):
        found: SourceRows = answer["sources"][index] if "sources" in answer else {"rows": _text_rows(source, rows)}
        shown: SourcePreview = {"name": source.path or source.hub or "", "format": source.format, **found}
        if why := shown.pop("why", None):
            notes.append(why)
            shown["rows"] = _text_rows(source, rows)
        if lengths := shown.get("lengths"):
            shown["histogram"] = histogram(lengths)
        sources.append(shown)
    return {
        "stage": stage.name,
        "trainer": stage.trainer,
        "release": stage.release,
        "method": stage.method,
        "max_length": stage.model.max_length,
        "tokenizer": stage.model.tokenizer,
        "chat_template": stage.model.chat_template_file or stage.model.chat_template,
        "versions": answer.get("versions", {}),
        "template_sha256": answer.get("template"),
        "packing": answer.get("packing"),
        "notes": notes,
        "sources": sources,
    }


def _text_rows(source: DataSource, rows: int) -> list[Row]:
    """Return the first rows as texts."""
    return [{"texts": _named(parts)} for parts in _raw(source, rows)]


def _raw(source: DataSource, rows: int) -> list[raw_rows.Parts]:
    try:
        return raw_rows.first_rows(source, rows) or []
    except (OSError, ValueError) as error:
        raise RecipeError([Finding("D096", f"{source.path} cannot be read: {error}", file=source.path)]) from None


def _named(parts: raw_rows.Parts) -> dict[str, str]:
    """Return texts by name; from its second turn on, a role gets a number."""
    found: dict[str, str] = {}
    for name, text in parts:
        count = sum(other == name or other.startswith(f"{name} ") for other in found)
        found[f"{name} {count + 1}" if count else name] = text
    return found


def _python(compiled: Compiled, stage: Train, file: str) -> tuple[Path | None, str | None]:
    """Return the Python that prepares the rows of a stage (None if there is none), and a note on what is not shown."""
    assert compiled.resolved is not None
    if stage.script is not None:
        return None, "your own script prepares these rows: they are shown as they are in the file"
    for path in (stage.model.tokenizer, stage.model.path):
        maker = next((one for one in compiled.resolved.plan.stages if one.output == path), None)
        if maker is not None and not Path(path).exists():
            return (
                None,
                f"tokens are not shown: {path} is missing, which stage {maker.name} creates: run `recipe run {file}`",
            )
    name, pins = _environment(compiled, stage)
    folder = folder_of(name, pins)
    if not is_complete(folder):
        return None, f"tokens are not shown: environment {name} is missing: run `recipe env create {name}`"
    no_masks = f"masks are not shown for {stage.trainer}: the text is rendered with the tokenizer's own template"
    return folder / "bin" / "python", None if _script(stage.trainer) is not None else no_masks


def _environment(compiled: Compiled, stage: Train) -> tuple[str, str]:
    """Return the name and the pins of an environment for a stage; of several that would do, one that exists.

    An environment with additions in its name, such as DeepSpeed, prepares the same rows.
    """
    from recipec.facts import pins

    assert compiled.resolved is not None
    base = f"{stage.trainer}-{stage.release}"
    names = [base, *sorted(name for file in compiled.files if (name := Path(file).stem).startswith(f"{base}-"))]
    names += (
        [] if _script(stage.trainer) is not None else [GENERAL]
    )  # a tokenizer gives the same tokens in every environment
    return next(((name, pins(name)) for name in names if is_complete(folder_of(name, pins(name)))), (base, pins(base)))


def _prepare(python: Path, compiled: Compiled, whole: Stage[Train], rows: int) -> Answer:
    """Let the trainer prepare the rows in a temporary folder; return the script's answer. Raises PreviewFailure."""
    with tempfile.TemporaryDirectory(prefix="recipe-data-") as place, Signals() as signals:
        scratch, stage = Path(place), whole.body
        write(scratch / "build", compiled.files)
        folder = scratch / "build" / whole.name
        request = _request(stage, folder, scratch, rows)
        (scratch / "request.json").write_text(json.dumps(request), encoding="utf-8")
        command = [str(python), str(_script(stage.trainer) or TEMPLATE_SCRIPT)]
        command += [str(scratch / "request.json"), str(scratch / "answer.json")]
        with (scratch / "log").open("wb") as log:
            child = Child(command, output=log, variables=_variables(folder, scratch, hub=_uses_hub(stage)))
            code = child.wait(signals, lambda: None, lambda _number: None, saving=5.0)
        if signals.received:
            raise KeyboardInterrupt
        if code or not (scratch / "answer.json").exists():
            output = (scratch / "log").read_text(encoding="utf-8", errors="replace").replace(place, "…").splitlines()
            message = f"{stage.trainer} {stage.release} could not prepare the rows of {stage.name}"
            raise PreviewFailure(message, [line for line in output if line.strip()][-FAILURE_LINES:])
        found: Answer = json.loads((scratch / "answer.json").read_text(encoding="utf-8"))
        return found


def _request(stage: Train, folder: Path, scratch: Path, rows: int) -> dict[str, Any]:
    model = stage.model
    return {
        "folder": str(folder),
        "file": str(folder / f"{stage.trainer}.yaml"),
        "scratch": str(scratch),
        "rows": rows,
        "bound": MAX_ROWS,
        "method": stage.method,
        "gpu": stage.hardware.device == "gpu",
        "model": model.path,
        "model_revision": model.revision,
        "tokenizer": model.tokenizer,
        "revision": model.revision if model.tokenizer == model.path else None,
        "trust_remote_code": model.trust_remote_code,
        "max_length": model.max_length,
        "packing": stage.data.packing,
        "sources": [
            msgspec.structs.asdict(source)
            | ({} if _script(stage.trainer) is not None else {"parts": _raw(source, rows)})
            for source in stage.data.train
        ],
    }


def _uses_hub(stage: Train) -> bool:
    return any(source.hub is not None for source in stage.data.train)


def _variables(folder: Path, scratch: Path, *, hub: bool) -> Mapping[str, str]:
    """Return environment variables with which a preparation downloads nothing, reports nothing and leaves no files."""
    hidden = ("VIRTUAL_ENV", "PYTHONHOME", "PYTHONPATH", "ACCELERATE_CONFIG_FILE")
    found = {name: value for name, value in os.environ.items() if name not in hidden}
    found |= {
        "PYTHONPATH": str(folder),
        "HF_HUB_OFFLINE": "1",
        "HF_DATASETS_OFFLINE": "1",
        "AXOLOTL_DO_NOT_TRACK": "1",
        "AXOLOTL_IS_PREPROCESS": "1",
        "DO_NOT_TRACK": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "CUDA_VISIBLE_DEVICES": "",
        "TMPDIR": str(scratch),
    }
    if not hub:  # data from the hub is read from the user's own cache
        found["HF_DATASETS_CACHE"] = str(scratch / "datasets")
    return found
