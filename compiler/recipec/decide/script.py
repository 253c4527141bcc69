"""A training script of the user's own: what starts it, and whether it is told what it must know."""

from collections.abc import Iterator

from recipec.decide.draft import Draft, indexed
from recipec.plan import Script, TrainStage
from recipec.references import Reference, leaves, references
from recipec.suggest import nearest


def wanted(d: Draft) -> bool:
    """Return whether the trainer is a script of the user's own, which has its model and its data from where it likes."""
    return bool(d.get("trainer") == "script")


def script(d: Draft) -> None:
    """The script, where that is the trainer."""
    if wanted(d) and d.get("script") is None:
        d.error("P095", "trainer", "trainer: script needs the script", "add script: {path: train.py}")
    if d.get("script") is None:
        d.values["train.script"] = None
        return
    if not wanted(d):
        d.error("P095", "script", f"{d.values['train.trainer']} runs no script", "set trainer: script, or drop script")
    d.copy("train.script.path", "script.path")
    d.copy("train.script.launcher", "script.launcher")
    arguments = dict(d.get("script.arguments"))
    d.put("train.script.arguments", arguments, "as given", *(indexed("script.arguments", key) for key in arguments))
    d.values["train.script"] = d.make(Script, "train.script")


def told(d: Draft, stage: TrainStage) -> None:
    """Judge what the arguments ask of the plan, and that the script is told what nobody else does for it."""
    if stage.script is None or not wanted(d):
        return
    known = {path: value for path, value in leaves(stage, stage.name) if not path.startswith(f"{stage.name}.script.")}
    emitted = [*["accelerate.yaml"][: stage.script.launcher == "accelerate"]]
    emitted += [*["ds_config.json"][: stage.parallel.strategy.startswith("zero")]]
    asked: set[str] = set()
    for key, reference in _all(stage.script):
        here = indexed("script.arguments", key)
        asked.add(f"{reference.kind}:{reference.name}")
        whole = f"${{{reference.kind}:{reference.name}}}"
        if reference.kind == "file" and reference.name not in emitted:
            there = f"there is {', '.join(emitted)}" if emitted else "there is none with this launcher and strategy"
            d.error("P096", here, f"no file {reference.name} is emitted", there, nearest(reference.name, emitted))
        elif reference.kind not in ("file", "plan"):
            advice = f"write ${{plan:{stage.name}.batch.micro}} for a value of the plan"
            if reference.kind == "env":  # a command line is seen by everybody on the machine
                advice = f"write {reference.name}: {whole} in launch.environment; the script finds it there"
            d.error("P096", here, f"{whole} is neither of the plan nor an emitted file", advice)
        elif reference.kind == "plan" and reference.name not in known:
            below = [path for path in known if path.startswith(reference.name + ".")]
            message = (
                f"{reference.name} is not a single value of the plan" if below else f"no {reference.name} in the plan"
            )
            advice = f"it holds {', '.join(below[:6])}" if below else "`plan.json` lists every value"
            close = None if below else nearest(reference.name, list(known))
            d.error("P096", here, message, advice, close)
        elif reference.kind == "plan" and known[reference.name] in (None, ""):
            d.error("P096", here, f"the recipe gives no {reference.name}", "say it in the recipe, or drop the argument")
    _must(d, stage, asked)


def _all(script: Script) -> Iterator[tuple[str, Reference]]:
    for key, value in script.arguments.items():
        for reference in references(value):
            yield key, reference


def _must(d: Draft, stage: TrainStage, asked: set[str]) -> None:
    assert stage.script is not None
    name, launcher, strategy = stage.name, stage.script.launcher, stage.parallel.strategy
    if f"plan:{name}.output" not in asked:
        advice = f"give it its folder, such as output-dir: ${{plan:{name}.output}}"
        d.error("P097", "script", "nothing tells the script where its result goes", advice)
    batch = {f"plan:{name}.batch.{word}" for word in ("micro", "accumulation", "total")} & asked
    if batch == {f"plan:{name}.batch.micro"} and stage.batch.accumulation > 1 and not strategy.startswith("zero"):
        message = f"nothing tells the script to accumulate gradients over {stage.batch.accumulation} batches"
        advice = f"give it ${{plan:{name}.batch.accumulation}}, or set train.gradient_accumulation: 1"
        d.error("P099", "train", message, advice)
    if launcher == "ray" and strategy.startswith("zero"):
        advice = "use launcher: accelerate, or deepspeed"
        d.error("P098", "parallel.strategy", "Ray's environment has no DeepSpeed", advice)
        return
    shards = launcher == "accelerate" or strategy in ("single", "ddp") or f"plan:{name}.parallel.strategy" in asked
    if launcher == "deepspeed" and strategy.startswith("zero"):
        shards = shards or "file:ds_config.json" in asked
    if not shards:
        how = "deepspeed_config: ${file:ds_config.json}" if strategy.startswith("zero") else ""
        how = how or f"strategy: ${{plan:{name}.parallel.strategy}}"
        advice = f"use launcher: accelerate; or where the script itself shards, tell it by an argument such as {how}"
        d.error("P098", "parallel.strategy", f"{launcher} only starts processes: nothing would do {strategy}", advice)
