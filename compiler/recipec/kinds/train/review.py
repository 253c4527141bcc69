"""What a reviewer of a training decides on, as a section of `PLAN.md`: everything that costs, in one table."""

from __future__ import annotations

import re
from math import ceil
from pathlib import Path

from recipec.facts.models import KnownModel, adapter_weights, known_model
from recipec.kinds.train.continued import as_saved
from recipec.kinds.train.methods import METHODS
from recipec.kinds.train.records import Adapter, DataSource, Train
from recipec.plan import Plan, Stage
from recipec.plural import counted
from recipec.render.markdown import cell, code
from recipec.rows.reading import row_count

_PIPE = re.compile(r"(?<!\\)\|")
BYTES = {"fp32": 4, "bf16": 2, "fp16": 2}
MOMENTS = {
    "adamw": 2.0,
    "adamw_schedule_free": 2.0,
    "adamw_8bit": 0.5,
    "adamw_4bit": 0.25,
    "lion": 1.0,
    "ademamix": 3.0,
}


def section(stage: Stage[Train], plan: Plan) -> list[str]:
    """Return the lines of the section about a training."""
    s = stage.body
    adapter = as_saved(plan, s)
    known = known_model(s.model.path, folders=False)  # a plan is the same on every machine
    rows = dict[str, str]()
    if s.script is None:
        rows["trains"] = _trains(s, adapter, known)
        rows["method"] = _method(s)
        rows["data"] = "<br>".join(_source(source) for source in s.data.train)
        if s.data.holdout or s.data.validation:
            rows["validation"] = _validation(s)
        rows["length"] = _length(s)
    rows["batch"] = _batch(s)
    if s.script is None:
        rows["optimiser"] = _optimizer(s)
        rows["numbers"] = _numbers(s)
    rows["machine"] = _machine(s)
    if s.script is None:
        rows["saves"] = _saves(s, adapter, known)
        rows["seed"] = str(s.seed)
    title = "## Training" if s.name == "train" else f"## Training of {s.name}"
    return [title, "", "| | |", "|---|---|", *(f"| {word} | {_one_cell(text)} |" for word, text in rows.items())]


def _one_cell(text: str) -> str:
    return _PIPE.sub(r"\\|", text)


def _trains(s: Train, a: Adapter | None, known: KnownModel | None) -> str:
    """Say what is trained; `a` is the adapter as it is, None where that is not known."""
    whole = known.parameters if known is not None and known.quantised is None else None
    of = f" of {code(s.model.path)}" + (f" at revision {code(s.model.revision)}" if s.model.revision else "")
    if s.adapter is None:
        return "all" + (f" {whole:,}" if whole else "") + f" weights{of}"
    load = f" in {s.model.load_in}" if s.model.load_in in ("int8", "nf4", "fp4") else ""
    if a is None:
        own = "its own rank, alpha and layers, which are not known here"
        return f"the adapter {code(s.adapter.start_from or '')} further, with {own},{of}{load}"
    size = _adapter_size(a, known)
    share = f": {size:,} weights" + (f", {size / whole:.2%} of {whole:,}" if whole else "") if size else ""
    where = f"the layers {code(a.target_pattern)}" if a.target_pattern else _targets(a)
    also = f", and all of {', '.join(map(code, a.also_train))}" if a.also_train else ""
    rank = f" of rank {a.rank}" if a.rank else ""
    alpha = f", alpha {a.alpha:g}" if a.alpha else ""
    start = f", continuing {code(a.start_from)}" if a.start_from else ""
    kind = {"lora": "LoRA"}.get(a.type, cell(a.type))
    return f"a {kind} adapter{rank}{alpha}{start} on {where}{also}{of}{load}{share}"


def _targets(a: Adapter) -> str:
    return "all linear layers" if a.targets == ("all-linear",) else ", ".join(map(code, a.targets))


def _adapter_size(a: Adapter, known: KnownModel | None) -> int | None:
    """Return the number of weights of a LoRA adapter; None where it is another kind, or not known."""
    if known is None or a.type != "lora" or a.target_pattern is not None or a.also_train or a.dora:
        return None
    return adapter_weights(known, a.rank, None if a.targets == ("all-linear",) else a.targets)


def _method(s: Train) -> str:
    parts: list[str] = [s.method]
    if s.objective is not None:
        words = METHODS[s.method].words
        parts += [f"{word.replace('_', ' ')} {getattr(s.objective, word):g}" for word in words if word in _OBJECTIVE]
        parts += [f"loss {s.objective.loss}"] if s.objective.loss else []
    if s.rollout is not None:
        r = s.rollout
        parts.append(
            f"{counted(r.completions, 'completion')} for each prompt, up to {r.max_new_tokens:,} tokens, temperature {r.temperature:g}, by {r.engine}"
        )
    for reward in s.rewards:
        what = reward.function or reward.path or reward.url or reward.pattern or reward.language or reward.max_words
        parts.append(f"reward {reward.type}" + (f" {code(str(what))}" if what else "") + f" × {reward.weight:g}")
    if s.method == "sft":
        parts.append("loss on answers" if s.data.train_on == "assistant" else "loss on all tokens")
    return ", ".join(parts)


_OBJECTIVE = ("beta", "label_smoothing", "margin", "sft_weight", "desirable_weight", "undesirable_weight")


def _rows(source: DataSource) -> int | None:
    return row_count(Path(source.path)) if source.path is not None else None


def _source(source: DataSource) -> str:
    count = _rows(source)
    rows = [f"{count:,} rows" if count != 1 else "1 row"] if count is not None else []
    rows += (
        ["not at hand when this was compiled"]
        if source.path is not None and count is None and not Path(source.path).exists()
        else []
    )
    where = code(source.path or source.hub or "")
    if source.hub is not None:
        rows += [f"split {source.split}", *([f"subset {source.subset}"] if source.subset else [])]
        rows += [f"revision {source.revision or 'the newest'}"]
    weight = [f"weight {source.weight}"] if source.weight != 1 else []
    return f"{where}: {cell(', '.join([source.format, *rows, *weight]))}"


def _validation(s: Train) -> str:
    held = s.data.holdout
    what = "<br>".join(_source(source) for source in s.data.validation) or (
        f"{100 * held:.3g}% of the rows, held out" if 0 < held < 1 else f"{counted(int(held), 'row')}, held out"
    )
    every = s.watch.evaluate_every
    when = "never" if every == "never" else "every epoch" if every == "epoch" else f"every {counted(every, 'step')}"
    stop = (
        f", stopping after {counted(s.watch.early_stopping, 'evaluation')} without gain"
        if s.watch.early_stopping
        else ""
    )
    return f"{what}; {when}{stop}"


def _length(s: Train) -> str:
    amount = counted(s.length.amount, s.length.unit.removesuffix("s"))
    amount = (
        f"{s.length.amount:g} {'epoch' if s.length.amount == 1 else 'epochs'}" if s.length.unit == "epochs" else amount
    )
    longest = f"sequences of up to {s.model.max_length:,} tokens" + (", packed" if s.data.packing else "")
    each = s.batch.total * s.model.max_length
    if s.length.unit == "steps":
        return f"{amount}: at most {s.length.amount * each:,.0f} tokens, {longest}"
    counts = [_rows(source) for source in s.data.train]
    if not counts or None in counts:
        return f"{amount}, {longest}; the number of steps follows from rows that were not at hand"
    total = sum((count or 0) * source.weight for count, source in zip(counts, s.data.train, strict=True))
    held = s.data.holdout
    left = total - (int(held) if held >= 1 else int(total * held))
    sequences = left * (s.rollout.completions if s.rollout is not None else 1)
    steps = ceil(sequences / s.batch.total) * s.length.amount
    about = "at most" if s.data.packing else "about"
    return f"{amount} of {left:,} rows: {about} {steps:,.0f} steps, at most {steps * each:,.0f} tokens, {longest}"


def _batch(s: Train) -> str:
    b = s.batch
    sizes = f"{b.micro} micro batch × {b.accumulation} gradient accumulation × "
    sizes += counted(b.data_parallel, "data-parallel process")
    tokens = f"; at most {b.total * s.model.max_length:,} tokens" if s.script is None else ""
    return f"{counted(b.total, 'sequence')} per optimiser step = {sizes}{tokens}"


def _optimizer(s: Train) -> str:
    o = s.optimizer
    rate = f"learning rate {o.learning_rate:g}" if o.learning_rate is not None else ""
    floor = f" to {o.min_lr_ratio:g} of it" if o.min_lr_ratio else ""
    warmup = _share("warmup", o.warmup) if o.warmup else "no warmup"
    decay = _share("decay", o.decay) if o.decay else ""
    rest = [f"weight decay {o.weight_decay:g}", f"gradients clipped at {o.max_grad_norm:g}" if o.max_grad_norm else ""]
    return ", ".join(filter(None, [o.name, rate, f"{o.scheduler}{floor}", warmup, decay, *rest]))


def _share(word: str, amount: float) -> str:
    return f"{word} {amount:.0%} of the steps" if amount < 1 else f"{word} {counted(int(amount), 'step')}"


def _numbers(s: Train) -> str:
    n = s.numerics
    parts = [f"computes in {n.precision}", f"weights in {s.model.load_in}", f"attention {s.model.attention}"]
    parts += ["gradient checkpointing"] * n.gradient_checkpointing + ["Liger's kernels"] * n.liger_kernel
    return ", ".join([*parts, *["torch.compile"] * n.torch_compile])


def _machine(s: Train) -> str:
    h, p = s.hardware, s.parallel
    unit = "process" if h.device == "cpu" else f"{h.gpu}"
    each = f"{counted(h.per_node, unit)} of the CPU" if h.device == "cpu" else f"{h.per_node} × {unit}"
    nodes = f"each of {h.nodes} nodes, {each}" if h.nodes > 1 else each
    moved = [
        f"{what} on {where}"
        for what, where in (("optimiser states", p.optimizer_offload), ("parameters", p.parameter_offload))
        if where != "none"
    ]
    return ", ".join([f"{nodes}, {p.strategy}", *moved])


def _saves(s: Train, a: Adapter | None, known: KnownModel | None) -> str:
    w = s.watch
    whole = known.parameters if known is not None else None
    trained = whole if s.adapter is None else _adapter_size(a, known) if a is not None else None
    width = 4 if s.adapter is not None else BYTES.get(s.model.load_in, 2)  # PEFT keeps adapters in fp32
    what = "the model" if s.adapter is None else "the adapter"
    size = f" of about {_bytes(trained * width)}" if trained else ""
    every = "epoch" if w.save_every == "epoch" else counted(w.save_every, "step")
    keep = "all kept" if w.save_keep == "all" else f"the last {w.save_keep} kept"
    moments = MOMENTS.get(s.optimizer.name)
    states = trained * width * moments if trained and moments is not None and not w.save_only_model else 0
    more = f", each about {_bytes(trained * width + states)}" if trained else ""
    only = " without optimiser states" if w.save_only_model else ""
    return f"{code(s.output)}: {what}{size}; a checkpoint{only} every {every}, {keep}{more}"


def _bytes(count: float) -> str:
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"
