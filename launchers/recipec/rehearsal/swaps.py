"""The swaps of a rehearsal: the values that are laid over a recipe so that all of it runs on two cores in minutes.

Each is a path of the recipe, what it holds and what stands in for it, and why. Everything behind the recipe is the same
code as in the real run. What a system cannot do on a CPU is its own knowledge (`System.on_cpu`).
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from recipec.compose import compose
from recipec.course import Part, bind_course
from recipec.decide.machine import elsewhere
from recipec.diagnostics import RecipeError
from recipec.facts.models import is_folder
from recipec.kinds.train.records import DataSource, Train
from recipec.plan import Hardware, Plan, Stage, fields
from recipec.rehearsal import judges
from recipec.rehearsal.laid import Laid, Not, Swap
from recipec.rehearsal.requests import shortened
from recipec.rehearsal.rows import Taken, taken
from recipec.rehearsal.stand_ins import StandIn, stand_in
from recipec.rehearsal.tasks import fewer_programs, made_tasks, own_tasks
from recipec.source import Path as Steps
from recipec.source import Plain, dotted, find, plain
from recipec.systems.registry import system
from recipec.systems.table import flattened

STEPS, SAVE, ROWS = 3, 2, 24  # of a rehearsed training
MICRO, ACCUMULATION, COMPLETIONS, NEW_TOKENS = 2, 2, 2, 16
SHORTEST, LONGEST = 192, 1024  # tokens
ROOMY = "4096GB"  # of a GPU that stands in
ROOM = "of the same kind, with room for two processes in the place of all"
ASKED = 4  # rows of a task
CALIBRATED, MEASURED = 16, 4  # rows that are read by what quantises, and that it is measured on
BUCKET = 1_000_000  # elements


class Swaps(NamedTuple):
    """All that differs from the real run: `settings` are laid over the recipe, the rest lies around it."""

    swaps: list[Swap]
    cannot: list[Not]
    settings: list[str]
    stages: tuple[str, ...]  # those that run; one that something stands in for may have others before it
    never: frozenset[str]  # those that cannot be rehearsed
    rows: dict[str, Taken]  # by the path of the copy
    sources: dict[str, str]  # path of a copy → the file that only a tool can read
    models: list[StandIn]
    tasks: dict[str, str]  # files of made tasks
    task_folders: tuple[str, ...]  # those of the user, beside which they stand
    variables: dict[str, str]
    places: dict[str, Steps]  # of each training in the recipe
    files: dict[str, str]  # other files that are made, by their paths
    judge: int | None  # the port of what stands in for judges

    def settled(self, real: Plan, laid: Plan) -> Swaps:
        """Return the swaps with what follows from them: weights keep the format that was decided for the real GPUs."""
        swaps, settings = [*self.swaps], [*self.settings]
        now = {stage.name: stage for stage in laid.stages}
        for stage in real.stages:
            if stage.name not in now or stage.name not in self.stages:
                continue
            there = now[stage.name]
            if there.environment != stage.environment:
                at = f"environment of {stage.name}"
                swaps.append(Swap(at, stage.environment, there.environment, "without what needs a GPU"))
            if stage.name in self.places and there.body.model.load_in != stage.body.model.load_in:
                at = dotted((*self.places[stage.name], "model", "load_in"))
                swaps.append(Swap(at, None, stage.body.model.load_in, "as was decided for the real GPUs"))
                settings.append(f"{at}={stage.body.model.load_in}")
        return self._replace(swaps=swaps, settings=settings)


def swaps_of(
    file: str, plan: Plan, runs: Path, settings: tuple[str, ...], profiles: tuple[str, ...], variables: tuple[str, ...]
) -> Swaps:
    """Return what a rehearsal of a recipe swaps, and what of it cannot be rehearsed. Raises RecipeError."""
    course, findings = bind_course(compose(file, settings, profiles, variables).tree)
    if course is None:
        raise RecipeError(findings)
    name = f"{plan.name[:90]}.rehearsal"
    laid = Laid(course, runs / name)
    laid.put(course.whole, "name", name, "its results lie apart, and no run takes them up")
    never = _never(plan, laid)
    _machine(laid, plan)
    parts = {part.name: part for part in course.parts}
    if len(course.parts) == 1 and course.parts[0].own is None:
        parts = {"train": course.parts[0], **parts}
    for stage in plan.stages:
        part = parts.get(stage.name, course.whole)
        values = flattened(stage.body)
        made = stage.kind == "serve" and stage.name not in parts  # for a stage that asks what it serves
        for one in system(stage.system).on_cpu.instead:
            if all(only.holds(values) for only in one.when):
                laid.put(part, "evaluate.server" if made else one.at, one.value, one.why)
                if one.untried and stage.name not in never:
                    laid.cannot.append(Not(f"{stage.name}: {one.untried}", one.why))
        if stage.name in never:
            continue
        laid.asked |= stage.kind == "evaluate" and stage.body.server is not None
        if stage.kind == "train":
            _training(laid, stage, part)
        elif stage.kind == "generate":
            _generating(laid, stage, part)
        elif stage.kind == "quantize":
            _quantizing(laid, stage, part)
        elif stage.kind == "serve" and not made:
            _serving(laid, stage, part)
        elif stage.kind == "benchmark":
            for path, value, why in shortened(stage.body):
                laid.put(part, path, value, why)
        elif stage.kind == "evaluate":
            _evaluation(laid, stage, part if part.own is not None else course.whole)
        elif stage.kind in ("answers", "judge"):
            own = (one for one in course.parts if stage.name.startswith(f"{one.name}-{stage.kind}-"))
            judges.lay(laid, stage, next(own, course.whole), ASKED, NEW_TOKENS)
        elif stage.kind == "checkpoints":
            _checkpoints(laid, stage, parts.get(stage.name.removesuffix(f"-{stage.kind}"), course.whole))
        elif stage.kind == "gate":
            _gate(laid, stage, parts.get(stage.name.removesuffix(f"-{stage.kind}"), course.whole))
            never.add(stage.name)
        elif stage.kind == "init":
            _scratch(laid, course.whole)
    for steps in [steps for steps, all_of_it in laid.over.items() if all_of_it]:
        laid.at(steps, None, "each stage has its own here")
    models = list(_models(laid, plan, never))
    _around(laid, plan)
    around = _variables(plan, laid.run)
    told = [Swap(f"environment {key}", os.environ.get(key), value, why) for key, (value, why) in around.items()]
    stages = tuple(stage.name for stage in plan.stages if stage.name not in never)
    said = [f"{path}={json.dumps(value, ensure_ascii=False)}" for path, value in laid.settings.items()]
    given = {key: value for key, (value, _) in around.items()}
    return Swaps(
        [*laid.swaps, *told], laid.cannot, said, stages, frozenset(never), laid.rows, laid.sources, models, laid.tasks, tuple(dict.fromkeys(laid.task_folders)), given,
        {name: part.path for name, part in parts.items() if any(one.name == name and one.kind == "train" for one in plan.stages)},
        laid.files, laid.judge,
    )  # fmt: skip


def _never(plan: Plan, laid: Laid) -> set[str]:
    """Return the stages that cannot be rehearsed: those that nothing runs on a CPU, and those that wait for one."""
    found: set[str] = set()
    for stage in plan.stages:
        why = system(stage.system).on_cpu.never
        waits = [name for name in stage.after if name in found]
        if why or waits:
            found.add(stage.name)
            laid.cannot.append(Not(stage.name, why or f"it needs what {', '.join(waits)} would leave"))
    return found


def _machine(laid: Laid, plan: Plan) -> None:
    whole, on = laid.course.whole, plan.hardware
    laid.put(whole, "hardware.nodes", None, "one machine stands in for all nodes")
    if on.per_node > 1 or on.nodes > 1:
        laid.put(whole, "hardware.per_node", 2, "two processes stand in for all, and speak by gloo")
    if on.device == "gpu":
        laid.put(whole, "hardware.gpu", _stand_in(on), ROOM)
    laid.put(whole, "hardware.host_memory_gib", None, "that of this machine is not judged")
    takes = {stage.name: stage.resources for stage in plan.stages}
    own = {stage.name: stage.body.hardware for stage in plan.stages if "hardware" in fields(stage.body)}
    for part in laid.course.parts:
        place = (*part.path, "hardware")
        if part.path and part.name in takes and find(laid.tree, place) is not None:
            share = takes[part.name]
            laid.at((*place, "nodes"), None, "one machine stands in for all nodes")
            laid.at((*place, "per_node"), min(2, share.nodes * share.per_node), "as many as stand in for all")
            if part.name in own and elsewhere(on, own[part.name]):
                laid.at((*place, "gpu"), _stand_in(own[part.name]), ROOM)
    laid.put(whole, "launch.on", None, "one machine stands in for all nodes")


def _stand_in(on: Hardware) -> Plain:
    """Return a GPU of the same kind with more memory."""
    return {"name": f"{on.gpu}-stand-in", "memory": ROOMY, "compute_capability": on.sm / 10}


def _sources(
    laid: Laid, part: Part, where: tuple[str, ...], sources: tuple[DataSource, ...], count: int, *, listed: bool = True
) -> int:
    """Swap the files of some sources for copies of a few rows; return the bytes of the longest row."""
    longest = 0
    node = find(laid.tree, laid.place(part, *where))
    given = plain(node) if node is not None else None
    for index, source in enumerate(sources):
        said = given[index] if isinstance(given, list) and index < len(given) else None
        if not isinstance(said, dict) or "stage" in said:
            continue  # another stage makes these rows
        word = f"{part.name}-{where[-1]}-{index}" if part.path else f"{where[-1]}-{index}"
        rows = taken(source, word, count, listed=listed)
        path = str(laid.run / "data" / rows.file)
        laid.rows[path] = rows
        if rows.text is None and source.path is not None:
            laid.sources[path] = source.path
        longest = max(longest, rows.longest)
        at = laid.place(part, *where, index)
        why = f"{rows.number} rows made here, for {rows.made}" if rows.made else f"{rows.number} of its rows"
        if source.path is None:
            for key in ("hub", "subset", "split", "revision"):
                if find(laid.tree, (*at, key)) is not None:
                    laid.at((*at, key), None, why)
        laid.at((*at, "path"), path, why)
    return longest


def _training(laid: Laid, stage: Stage[Train], part: Part) -> None:
    body, doer = stage.body, system(stage.system)
    short = "a few steps show what a run would stumble over"
    if doer.own_program:
        if body.length.unit == "epochs":
            laid.put(part, "train.epochs", 1, short)
        else:
            laid.put(part, "train.steps", STEPS, short)
        laid.cannot.append(Not(f"{stage.name}: its model and data", "a program of your own chooses them itself"))
        batch = None
    else:
        world = min(2, body.hardware.world)
        micro, accumulation = min(body.batch.micro, MICRO), min(body.batch.accumulation, ACCUMULATION)
        batch = micro * accumulation * world
        if body.rollout is not None:
            laid.put(part, "rollout.completions", min(body.rollout.completions, COMPLETIONS), "fewer answers")
            laid.put(part, "rollout.max_new_tokens", min(body.rollout.max_new_tokens, NEW_TOKENS), "short answers")
            if batch % COMPLETIONS:
                accumulation, batch = ACCUMULATION, micro * ACCUMULATION * world
        laid.put(part, "train.epochs", None, short)
        laid.put(part, "train.steps", STEPS, short)
        laid.put(part, "train.micro_batch_size", micro, "small batches, of the same structure")
        laid.put(part, "train.gradient_accumulation", None, "small batches, of the same structure")
        laid.put(part, "train.batch_size", batch, "small batches, of the same structure")
        count = max(ROWS, 2 * batch) * (2 if body.data.packing else 1)
        listed = not doer.pairs or "messages" in doer.pairs
        longest = _sources(laid, part, ("data", "train"), body.data.train, count, listed=listed)
        more = _sources(laid, part, ("data", "validation"), body.data.validation, max(8, batch), listed=listed)
        longest = max(longest, more)
        room = min(LONGEST, max(SHORTEST, -(-(longest + 64) // 64) * 64))
        laid.put(part, "model.max_length", min(body.model.max_length, room), "long enough for these rows")
        if body.data.holdout:
            share = "20%" if body.data.holdout < 1 else 4
            laid.put(part, "data.holdout", share, "of these rows")
        if body.parallel.strategy in ("zero1", "zero2"):
            laid.put(part, "parallel.bucket_size", BUCKET, "buffers for a tiny model")
        if body.data.workers:
            laid.put(part, "data.workers", 0, "processes that read a few rows")
    _watching(laid, part, body, own=doer.own_program)
    if body.adapter is not None and body.adapter.start_from is not None:
        laid.put(part, "adapter.start_from", None, "a new adapter: the other one is none of the tiny model's")
    _rewards(laid, part, body)


def _watching(laid: Laid, part: Part, body: Train, *, own: bool) -> None:
    """Make what happens every so many steps happen within the few that there are."""
    watch, often = body.watch, "so that it happens within these steps"
    if isinstance(watch.save_every, int):
        laid.put(part, "train.save.every", min(watch.save_every, SAVE), often)
    if isinstance(watch.evaluate_every, int) and find(laid.tree, laid.place(part, "train", "evaluate_every")):
        laid.put(part, "train.evaluate_every", min(watch.evaluate_every, SAVE), often)
    if own:
        return
    for word, value in (("warmup", body.optimizer.warmup), ("decay", body.optimizer.decay)):
        if isinstance(value, int) and value > SAVE:
            laid.put(part, f"train.{word}", SAVE, often)
    if watch.log_every > 1:
        laid.put(part, "train.log_every", 1, often)


def _rewards(laid: Laid, part: Part, body: Train) -> None:
    for index, reward in enumerate(body.rewards):
        if reward.type == "remote":
            stand: Plain = {"type": "length", "max_words": 8, "weight": reward.weight}
            laid.at(
                laid.place(part, "rewards", index), stand, "the server is not asked; the length of an answer counts"
            )


def _generating(laid: Laid, stage: Stage[Any], part: Part) -> None:
    body = stage.body
    _sources(laid, part, ("generate", "prompts"), body.sources, 4)
    laid.put(part, "generate.batch_size", min(body.batch_size, 2), "small batches")
    laid.put(part, "rollout.max_new_tokens", min(body.max_new_tokens, NEW_TOKENS), "short answers")
    laid.put(part, "rollout.completions", min(body.completions, 2 * COMPLETIONS), "fewer answers")
    if body.rewards:
        node = find(laid.tree, at := laid.place(part, "rewards"))
        own = plain(node) if node is not None else None
        more: Plain = {"type": "length", "max_words": 2}
        rewards: Plain = [*(own if isinstance(own, list) else ()), more]
        laid.at(at, rewards, "answers of random weights differ in nothing but their length")
        laid.put(part, "rollout.temperature", 1.5, "answers of random weights differ in nothing but their length")
    laid.put(part, "generate.keep_truncated", True, "a model with random weights ends no answer")
    for word in ("min_reward", "margin"):
        laid.put(part, f"generate.{word}", None, "a model with random weights earns nothing")


def _quantizing(laid: Laid, stage: Stage[Any], part: Part) -> None:
    body, few = stage.body, "a few rows show what a run would stumble over"
    if find(laid.tree, laid.place(part, "quantize", "calibration", "data")) is not None:
        _sources(laid, part, ("quantize", "calibration", "data"), body.sources, CALIBRATED)
    if body.rows:
        laid.put(part, "quantize.calibration.rows", min(body.rows, CALIBRATED), few)
    if body.measure:
        laid.put(part, "quantize.measure", min(body.measure, MEASURED), few)


def _serving(laid: Laid, stage: Stage[Any], part: Part) -> None:
    """Let the server on the CPU stand in for one on GPUs: what only that one has is not said."""
    if not system(stage.system).needs_gpu:
        return
    place = laid.place(part, "serve")
    node = find(laid.tree, place)
    said = plain(node) if node is not None else None
    for word in said if isinstance(said, dict) else ():
        if word not in ("tool", "host", "port", "ask"):
            laid.at((*place, word), None, "the server that stands in does not have it")


def _evaluation(laid: Laid, stage: Stage[Any], part: Part) -> None:
    body = stage.body
    laid.put(part, "evaluate.limit", ASKED, "a few rows of each task")
    laid.put(part, "evaluate.batch_size", ASKED, "small batches")
    if isinstance(body.few_shot, int) and body.few_shot > 1:
        laid.put(part, "evaluate.few_shot", 1, "prompts stay short")
    for at, value, why in fewer_programs(body.code, NEW_TOKENS):
        laid.put(part, at, value, why)
    own = set(own_tasks(body.task_folder))
    others = [task for text in body.tasks for task in text.split(",") if task.strip() not in own]
    if not others:
        return
    folder = laid.run / "tasks"
    laid.tasks |= made_tasks(folder, [task.strip() for task in others], NEW_TOKENS, written=laid.asked, code=body.code)
    if body.task_folder is not None:
        laid.task_folders.append(body.task_folder)
    why = f"{', '.join(others)}: rows made here in the place of those on the hub"
    laid.put(part, "evaluate.task_folder", str(folder), why)


def _checkpoints(laid: Laid, stage: Stage[Any], part: Part) -> None:
    _evaluation(laid, stage, part if part.own is not None else laid.course.whole)
    if stage.body.every is not None:
        laid.put(part, "evaluate.when", "every_checkpoint", "so that it happens within these steps")
    if stage.body.metric is not None and stage.body.task not in own_tasks(stage.body.task_folder):
        laid.put(
            part, "evaluate.best", stage.body.task, "what is made in the place of the task has a metric of its own"
        )


def _gate(laid: Laid, stage: Stage[Any], part: Part) -> None:
    """Leave out what scores must be, for they would end the rehearsal."""
    why = "scores of a tiny model say nothing"
    laid.put(part, "evaluate.require", None, why)
    laid.put(part, "evaluate.confidence", None, why)
    laid.cannot.append(Not(stage.name, why))


def _scratch(laid: Laid, whole: Part) -> None:
    """Make a model that starts from random weights small."""
    given = whole.recipe.model.from_scratch
    if given is None or (given.hidden_size <= 128 and given.layers <= 2 and given.vocab_size <= 1000):
        return
    shared = given.heads // given.kv_heads if given.kv_heads else 1
    small = {"hidden_size": 128, "layers": 2, "heads": 8, "vocab_size": min(given.vocab_size, 1000)}
    if given.kv_heads:
        small["kv_heads"] = max(1, 8 // shared)
    if given.intermediate_size:
        small["intermediate_size"] = 256
    for word, value in small.items():
        laid.put(whole, f"model.from_scratch.{word}", value, "a tiny model of the same architecture")


def _models(laid: Laid, plan: Plan, never: set[str]) -> Iterator[StandIn]:
    """Yield what stands in for each model from outside; a folder's place in the recipe is swapped."""
    wanted: dict[tuple[str, str | None], tuple[bool, set[str]]] = {}

    def want(path: str | None, revision: str | None, *others: str, scores: bool = False) -> None:
        missing = path is not None and is_folder(path) and not Path(path).is_dir()  # the run misses it, as the real one
        if path and not missing and plan.maker(path) is None:
            known = wanted.get((path, revision), (False, set()))
            wanted[path, revision] = (known[0] or scores, known[1] | {one for one in others if one != path})

    for stage in plan.stages:
        if stage.name in never:
            continue
        body = stage.body
        for one in stage.inputs:
            if one.stage is None and getattr(one.output, "path", None):
                model: Any = one.output
                want(model.path, model.revision, model.tokenizer, scores=model.head == "score")
        for reward in getattr(body, "rewards", ()):
            if reward.type == "model":
                want(reward.path, None, scores=True)
        tokenizer = getattr(getattr(body, "model", None), "tokenizer", None)
        if isinstance(tokenizer, str) and stage.inputs and not Path(tokenizer).is_dir():
            want(tokenizer, None)
    for (name, revision), (scores, others) in wanted.items():
        found = stand_in(name, revision, scores=scores, tokenizers=others)
        place = found.place(laid.run)
        laid.swaps.append(Swap(f"model {name}", name, str(place), f"a tiny model with random weights: {found.sources}"))
        if place.parent.name == "models":
            _renamed(laid, name, str(place))
        yield found


def _renamed(laid: Laid, name: str, place: str) -> None:
    """Say the folder of a stand-in wherever the recipe says that of the model."""
    for part in (laid.course.whole, *laid.course.parts):
        for word in ("base", "tokenizer"):
            node = find(laid.tree, (*part.path, "model", word))
            if node is not None and plain(node) == name and (word == "base" or not is_folder(name)):
                laid.at((*part.path, "model", word), place, "a tiny model with random weights")
        node = find(laid.tree, (*part.path, "rewards"))
        for index, row in enumerate(found if node is not None and isinstance(found := plain(node), list) else ()):
            if isinstance(row, dict) and row.get("path") == name:
                laid.at((*part.path, "rewards", index, "path"), place, "a tiny reward model with random weights")


def _around(laid: Laid, plan: Plan) -> None:
    """Keep trackers offline, and the variables of the recipe from undoing those of the rehearsal."""
    whole = laid.course.whole
    laid.put(whole, "track.trackio.space", None, "nothing is sent")
    if find(laid.tree, ("track", "mlflow", "tracking_uri")) is not None:
        laid.put(whole, "track.mlflow.tracking_uri", str(laid.run / "mlflow"), "nothing is sent")
    for name in _variables(plan, laid.run):
        laid.put(whole, f"launch.environment.{name}", None, "the rehearsal says it itself")


def _variables(plan: Plan, run: Path) -> dict[str, tuple[str, str]]:
    """Return the variables of a rehearsal, and why each is there."""
    place = run.absolute()
    found = {
        "HF_HUB_CACHE": (str(place / "hub"), "the models that stand in are found under the real names"),
        "HF_DATASETS_CACHE": (str(place / "datasets"), "its results lie apart"),
        "HF_HUB_OFFLINE": ("1", "nothing is downloaded"),
        "CUDA_VISIBLE_DEVICES": ("", "a rehearsal needs no GPU, and takes none from others"),
    }
    tracks = [stage.body.track for stage in plan.stages if getattr(stage.body, "track", None) is not None]
    if any(track.wandb_project for track in tracks):
        found["WANDB_MODE"] = ("offline", "nothing is sent")
        found["WANDB_DIR"] = (str(place), "its results lie apart")
    if any(track.trackio_project for track in tracks):
        found["TRACKIO_DIR"] = (str(place / "trackio"), "its results lie apart")
    return found
