"""llm-compressor 0.14: its recipe, and a script of ours that is copied as it is, which reads rows and calls it."""

from __future__ import annotations

from recipec.facts import pinned
from recipec.facts.schemes import schemes
from recipec.job import Beside, Job
from recipec.kinds.quantize import Quantize
from recipec.systems.check import Check, refuses
from recipec.systems.document import Sheet
from recipec.systems.programs import program, reading_turns
from recipec.systems.system import Need, System
from recipec.systems.table import NULL, OMIT, Row, choice, constant, made, renamed, same, within
from recipec.systems.trl.script import source_rows

TOOL, ENVIRONMENT, FILE = "llmcompressor", "llmcompressor-0.14.0.1", "llmcompressor.yaml"
SCRIPT, SETTINGS, LIBRARY = "quantize_model.py", "quantize.json", "rows.py"
HOLDS = frozenset(["lm-eval", "peft", "transformers", "datasets", "compressed-tensors"])
GROUPED = tuple(name for name, one in schemes().items() if one.groups)
PRESETS = {name: one.preset or OMIT for name, one in schemes().items()}
BITS = {name: one.weights for name, one in schemes().items()}

# How weights are stored; a preset names all of it where a recipe can choose nothing.
_GROUP = within(
    "config_groups",
    *within(
        "group_0",
        constant("targets", ["Linear"]),
        *within(
            "weights",
            made("num_bits", BITS.__getitem__, "scheme"),
            constant("type", "int"),
            same("symmetric", "symmetric"),
            choice("strategy", "group_size", {"channel": "channel"}, other="group"),
            renamed("group_size", "group_size", {"channel": OMIT}),
        ),
    ),
)
_STORED: tuple[Row, ...] = (
    made("targets", lambda _scheme: ["Linear"], "scheme").unless("scheme", *GROUPED),
    made("scheme", PRESETS.__getitem__, "scheme").unless("scheme", *GROUPED),
    *(row.when("scheme", *GROUPED) for row in _GROUP),
    same("ignore", "ignore"),
)
_MODIFIERS: tuple[Row, ...] = (
    *within("SmoothQuantModifier", same("smoothing_strength", "smoothing").when("smoothing")),
    *within(
        "AWQModifier",
        constant("duo_scaling", True).when("method", "awq"),
        # what the rows give each layer would else stay on the GPU, of all rows at once
        constant("offload_device", "cpu").when("method", "awq").when("hardware.device", "gpu"),
    ),
    *(
        row.when("method", "gptq")
        for row in within(
            "GPTQModifier",
            *_STORED,
            same("dampening_frac", "damping"),
            renamed("actorder", "act_order", {"none": NULL}),
        )
    ),
    *(row.when("method", "awq", "round") for row in within("QuantizationModifier", *_STORED)),
)
RECIPE = within("quantization_stage", *within("quantization_modifiers", *_MODIFIERS))


def setting_rows(s: Quantize) -> tuple[Row, ...]:
    """Return the table of `quantize.json`, by which the script loads the model and reads rows."""
    return (
        same("model", "path"),
        made("revision", lambda given: given or "main", "revision"),
        *(same(word, word) for word in ("tokenizer", "precision", "trust_remote_code")),
        constant("chat_template", "tokenizer", "the one that the model's tokenizer carries"),
        source_rows("sources", "sources", len(s.sources)),
        *(same(word, word) for word in ("rows", "measure", "max_length", "seed", "output")),
    )


def settings(s: Quantize, environment: str) -> Sheet:
    """Return `quantize.json`."""
    return Sheet(
        SETTINGS, setting_rows(s), "transformers", pinned(environment, "transformers"), "", "json", raw_keys=False
    )


def job(tool: str, recipe: str) -> Job:
    """Return what runs the script: on one GPU, which holds a layer at a time."""
    words = ("python", Beside(SCRIPT), tool, Beside(recipe), Beside(SETTINGS))
    return Job(words, imports_emitted=True, one_gpu=True)


def files(_s: Quantize) -> dict[str, str]:
    """Return the script and what it imports."""
    return {SCRIPT: program(SCRIPT), LIBRARY: reading_turns("trl_rows.py")}


def uses(_s: Quantize) -> tuple[str, ...]:
    """Return the plan paths that the job acts on."""
    return ("output", "sources", "tool")


def _sheets(s: Quantize, environment: str) -> list[Sheet]:
    own = Sheet(FILE, RECIPE, TOOL, pinned(environment, TOOL), "recipe", raw_keys=False)
    return [own, settings(s, environment)]


def _unlike(scheme: str, method: str) -> bool:
    return method == "awq" and not schemes()[scheme].groups


CHECKS: tuple[Check, ...] = (
    refuses(
        "method",
        "scheme",
        when=lambda method, scheme: _unlike(scheme, method),
        message=lambda _method, scheme: (
            f"AWQ scales weights that are served with activations of 16 bits, and {scheme} has others"
        ),
        advice="use method: gptq or round, or scheme: w4a16",
    ),
)


SYSTEM = System(
    TOOL,
    kinds=frozenset(["quantize"]),
    sheets=_sheets,
    needs=lambda _s: Need(ENVIRONMENT, holds=HOLDS),
    job=lambda _s: job(TOOL, FILE),
    files=files,
    checks=lambda _s: CHECKS,
    uses=uses,
    package=TOOL,
    writes="compressed-tensors",
)
