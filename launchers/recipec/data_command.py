"""`recipe data`: the rows of a recipe as the model will see them, prepared by the trainer's own code."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from recipec import snapshot
from recipec.diagnostics import Finding, RecipeError
from recipec.environments import folder_of, is_complete
from recipec.output import write
from recipec.pipeline import Compiled
from recipec.plan import DataSource, TrainStage
from recipec.preview import checks, raw_rows, token_snapshot
from recipec.preview.rows import Answer, Row, SourcePreview, SourceRows, StagePreview
from recipec.preview.text import histogram
from recipec.processes import Child, Signals
from recipec.source import Span
from recipec.targets import GENERAL

ROWS = 3  # shown of each source unless asked otherwise
BOUND = 20_000  # rows of each source whose lengths are looked at
SCRIPTS = Path(__file__).parent / "preview" / "scripts"
EXACT = {  # trainers whose own preparation is called
    "axolotl": "by_axolotl.py",
    "trl": "by_trl.py",
    "llamafactory": "by_llamafactory.py",
    "unsloth": "by_unsloth.py",
}
TEMPLATE = "by_template.py"  # for the others
LAST = 15  # lines shown of a preparation that failed


class PreviewFailure(Exception):
    """The trainer's own code could not prepare the rows; `lines` are the last that it said."""

    def __init__(self, message: str, lines: Sequence[str]) -> None:
        super().__init__(message)
        self.lines = tuple(lines)


class Preview(NamedTuple):
    """The previews of a recipe's trainings, JSON-ready, and what is wrong with them."""

    stages: list[StagePreview]
    findings: list[Finding]
    differences: list[str] = []
    snapshot: str | None = None  # the file that was written


def preview(
    compiled: Compiled, file: str, *, stage: str | None = None, rows: int = ROWS, keep: bool = False
) -> Preview:
    """Return the rows of a compiled recipe's trainings, or of the one named `stage`, as the model will see them.

    They are held against the snapshot beside the recipe where there is one; `keep` writes it anew instead. Raises
    RecipeError for a stage that there is not and for data that is not here, PreviewFailure where the tool fails.
    """
    assert compiled.resolved is not None
    place = snapshot.path_of(file, compiled.name)
    held = None if keep else snapshot.read(place)
    trainings = [one for one in compiled.resolved.plan.stages if isinstance(one, TrainStage)]
    chosen = [one for one in trainings if stage in (None, one.name, one.id)]
    if not chosen:
        known = ", ".join(one.name for one in trainings) or "none"
        said = f'the recipe has no training "{stage}"' if stage else "the recipe trains nothing"
        raise RecipeError([Finding("D095", said, help=f"its trainings: {known}", file=file)])
    stages: list[StagePreview] = []
    findings: list[Finding] = []
    for one in chosen:
        spans = _spans(compiled, one)
        _need(one, spans, file)
        made = preview_stage(compiled, one, file, max(rows, held["rows"] if held else 0))
        stages.append(made)
        findings += checks.findings(made, spans, file)
    told: list[str] = []
    for name, number, text in (
        token_snapshot.differences(held, [one for one in stages if one["versions"]]) if held else []
    ):
        span = next(_spans(compiled, one)[number] for one in chosen if one.name == name)
        message = f"the rows are not the tokens and masks of {place.name}"
        advice = f"`recipe data {file} --snapshot` renews it, if this is what is meant"
        findings.append(Finding("D097", message, span, help=advice, file=None if span else file))
        told.append(text)
    if keep:
        _keep(place, stages, chosen, rows, file)
    for made in stages:
        for source in made["sources"]:
            source["rows"] = source["rows"][:rows]
    return Preview(stages, findings, told, str(place) if keep else None)


def _keep(place: Path, stages: Sequence[StagePreview], trainings: Sequence[TrainStage], rows: int, file: str) -> None:
    """Write the snapshot. Raises RecipeError where there are no tokens to keep."""
    for made in stages:
        if not made["versions"]:
            raise RecipeError([Finding("D098", f"no snapshot: {made['notes'][0]}", file=file)])
    try:
        place.write_text(token_snapshot.snapshot_text(stages, trainings, rows), encoding="utf-8")
    except OSError as error:
        raise RecipeError([Finding("D098", f"no snapshot: {error.strerror}", file=str(place))]) from None


def _spans(compiled: Compiled, stage: TrainStage) -> list[Span | None]:
    """Return where the recipe names each source."""
    assert compiled.resolved is not None
    origins = compiled.resolved.origins
    found: list[Span | None] = []
    for index, source in enumerate(stage.data.train):
        word = "path" if source.path is not None else "hub"
        origin = origins.get(f"{stage.name}.data.train.{index}.{word}")
        found.append(origin.span if origin is not None else None)
    return found


def _need(stage: TrainStage, spans: Sequence[Span | None], file: str) -> None:
    wrong = [
        Finding("D094", f"no file {source.path}", span, help="paths start at the folder that one runs in", file=file)
        for source, span in zip(stage.data.train, spans, strict=True)
        if source.path is not None and not Path(source.path).exists()
    ]
    if wrong:
        raise RecipeError(wrong)


def preview_stage(compiled: Compiled, stage: TrainStage, file: str, rows: int) -> StagePreview:
    """Return the preview of one training. `notes` say what could not be shown, and the command that makes it."""
    python, note = _python(compiled, stage, file)
    answer = Answer()
    if python is not None:
        answer = _ask(python, compiled, stage, rows)
        if "missing" in answer:
            note = (
                f"{answer['missing']} is not in the local cache of the hub, and nothing is fetched here: "
                f"`{python.parent / 'hf'} download {answer['missing']} --include '*.json' '*.jinja' '*.model'` fetches it"
            )
    notes = [*([note] if note else []), *answer.get("notes", [])]
    sources: list[SourcePreview] = []
    for index, source in enumerate(stage.data.train):
        found: SourceRows = answer["sources"][index] if "sources" in answer else {"rows": _plain(source, rows)}
        shown: SourcePreview = {"name": source.path or source.hub or "", "format": source.format, **found}
        if why := shown.pop("why", None):
            notes.append(why)
            shown["rows"] = _plain(source, rows)
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


def _plain(source: DataSource, rows: int) -> list[Row]:
    """Return the first rows by role."""
    return [{"texts": _named(parts)} for parts in _raw(source, rows)]


def _raw(source: DataSource, rows: int) -> list[raw_rows.Parts]:
    try:
        return raw_rows.first_rows(source, rows) or []
    except (OSError, ValueError) as error:
        raise RecipeError([Finding("D096", f"{source.path} cannot be read: {error}", file=source.path)]) from None


def _named(parts: raw_rows.Parts) -> dict[str, str]:
    """Return texts by name; a role that speaks again gets the number of its turn."""
    found: dict[str, str] = {}
    for name, text in parts:
        count = sum(other == name or other.startswith(f"{name} ") for other in found)
        found[f"{name} {count + 1}" if count else name] = text
    return found


def _python(compiled: Compiled, stage: TrainStage, file: str) -> tuple[Path | None, str | None]:
    """Return the Python that prepares the rows of a stage, or None and what is missing."""
    assert compiled.resolved is not None
    if stage.script is not None:
        return None, "a script of your own prepares these rows: they are shown as they stand in the file"
    for path in (stage.model.tokenizer, stage.model.path):
        maker = next((one for one in compiled.resolved.plan.stages if one.output == path), None)
        if maker is not None and not Path(path).exists():
            return None, f"tokens are not shown: {path} is made by the stage {maker.id}: run `recipe run {file}`"
    name, pins = _environment(compiled, stage)
    folder = folder_of(name, pins)
    if not is_complete(folder):
        return None, f"tokens are not shown: there is no environment {name}: run `recipe env create {name}`"
    exact = f"masks are not shown for {stage.trainer}: the text is what the tokenizer's own template makes of the rows"
    return folder / "bin" / "python", None if stage.trainer in EXACT else exact


def _environment(compiled: Compiled, stage: TrainStage) -> tuple[str, str]:
    """Return the name and the pins of an environment for a stage: of several that fit, one that is here.

    Rows do not depend on what a longer name adds, such as DeepSpeed.
    """
    from recipec.facts import pins

    assert compiled.resolved is not None
    base = f"{stage.trainer}-{stage.release}"
    names = [base, *sorted(name for file in compiled.files if (name := Path(file).stem).startswith(f"{base}-"))]
    names += [] if stage.trainer in EXACT else [GENERAL]  # a tokenizer is the same everywhere
    return next(((name, pins(name)) for name in names if is_complete(folder_of(name, pins(name)))), (base, pins(base)))


def _ask(python: Path, compiled: Compiled, stage: TrainStage, rows: int) -> Answer:
    """Let the trainer prepare the rows in a folder that is thrown away; return its answer. Raises PreviewFailure."""
    with tempfile.TemporaryDirectory(prefix="recipe-data-") as place, Signals() as signals:
        scratch = Path(place)
        write(scratch / "build", compiled.files)
        folder = scratch / "build" / stage.id
        request = _request(stage, folder, scratch, rows)
        (scratch / "request.json").write_text(json.dumps(request), encoding="utf-8")
        command = [str(python), str(SCRIPTS / EXACT.get(stage.trainer, TEMPLATE))]
        command += [str(scratch / "request.json"), str(scratch / "answer.json")]
        with (scratch / "log").open("wb") as log:
            child = Child(command, output=log, variables=_variables(folder, scratch, hub=_on_the_hub(stage)))
            code = child.wait(signals, lambda: None, lambda _number: None, saving=5.0)
        if signals.received:
            raise KeyboardInterrupt
        if code or not (scratch / "answer.json").exists():
            said = (scratch / "log").read_text(encoding="utf-8", errors="replace").replace(place, "…").splitlines()
            message = f"{stage.trainer} {stage.release} could not prepare the rows of {stage.name}"
            raise PreviewFailure(message, [line for line in said if line.strip()][-LAST:])
        found: Answer = json.loads((scratch / "answer.json").read_text(encoding="utf-8"))
        return found


def _request(stage: TrainStage, folder: Path, scratch: Path, rows: int) -> dict[str, Any]:
    model = stage.model
    return {
        "folder": str(folder),
        "file": str(folder / f"{stage.trainer}.yaml"),
        "scratch": str(scratch),
        "rows": rows,
        "bound": BOUND,
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
            source._asdict() | ({} if stage.trainer in EXACT else {"parts": _raw(source, rows)})
            for source in stage.data.train
        ],
    }


def _on_the_hub(stage: TrainStage) -> bool:
    return any(source.hub is not None for source in stage.data.train)


def _variables(folder: Path, scratch: Path, *, hub: bool) -> Mapping[str, str]:
    """Return the variables of a preparation: nothing is fetched, reported, or left anywhere."""
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
    if not hub:  # data of the hub may lie in the user's own cache
        found["HF_DATASETS_CACHE"] = str(scratch / "datasets")
    return found
