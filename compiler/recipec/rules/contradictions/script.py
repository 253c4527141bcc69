"""Contradictions about a script of the user: what it is told, and what starts it."""

from __future__ import annotations

from collections.abc import Iterator

from recipec.decide.said import indexed
from recipec.kinds.train.records import Script, Train
from recipec.language import Recipe
from recipec.references import Reference, leaves, references
from recipec.rules.rule import Context, Fault, contradiction
from recipec.rules.script_options import declared_options
from recipec.suggest import nearest
from recipec.systems.registry import system

SCRIPT = ("script", "trainer")


@contradiction("P095", "script-and-trainer-disagree", "part", words=SCRIPT)
def which_program(_see: Context, recipe: Recipe) -> Iterator[Fault]:
    """Finds a script without the trainer that runs it, or that trainer without a script.

    Why is this bad:
    Either the script would never be started, or there is nothing to start.

    Example:
        recipe: 1
        name: example
        trainer: script
        train: {batch_size: 8}
        hardware: {gpu: a100-80gb}

    Use instead:
        script: {path: train.py, arguments: {out: '${plan:train.output}', batch: '${plan:train.batch.total}'}}
    """
    if recipe.train is None:
        return
    own = system(recipe.trainer).own_program
    if own and recipe.script is None:
        yield Fault("trainer", f"trainer: {recipe.trainer} needs the script", "add script: {path: train.py}")
    if not own and recipe.script is not None:
        yield Fault("script", f"{recipe.trainer} runs no script", "set trainer: script, or drop script")


def _asked(script: Script) -> Iterator[tuple[str, Reference]]:
    for key, value in script.arguments.items():
        for reference in references(value):
            yield key, reference


@contradiction("P096", "argument-that-nothing-gives", words=SCRIPT)
def arguments(see: Context, s: Train) -> Iterator[Fault]:
    """Finds an argument of a script that refers to something that is neither in the plan nor an emitted file.

    Why is this bad:
    The script would be given no value, or the text of the reference in place of one.

    Example:
        recipe: 1
        name: example
        trainer: script
        script: {path: train.py, arguments: {out: '${plan:train.output}', batch: '${plan:train.batch_size}'}}
        train: {batch_size: 8}
        hardware: {gpu: a100-80gb}

    Use instead:
        script: {path: train.py, arguments: {out: '${plan:train.output}', batch: '${plan:train.batch.total}'}}
    """
    if s.script is None or not system(s.trainer).own_program:
        return
    name = see.stage.name if see.stage is not None else s.name
    known = {path: value for path, value in leaves(s, name) if not path.startswith(f"{name}.script.")}
    emitted = [*["accelerate.yaml"][: s.script.launcher == "accelerate"]]
    emitted += [*["ds_config.json"][: s.parallel.strategy.startswith("zero")]]
    for key, reference in _asked(s.script):
        here = indexed("script.arguments", key)
        whole = f"${{{reference.kind}:{reference.name}}}"
        if reference.kind == "file" and reference.name not in emitted:
            there = f"there is {', '.join(emitted)}" if emitted else "there is none with this launcher and strategy"
            yield Fault(here, f"no file {reference.name} is emitted", there, nearest(reference.name, emitted))
        elif reference.kind not in ("file", "plan"):
            advice = f"write ${{plan:{name}.batch.micro}} for a value of the plan"
            if reference.kind == "env":  # a command line is seen by everybody on the machine
                advice = f"write {reference.name}: {whole} in launch.environment; the script finds it there"
            yield Fault(here, f"{whole} names neither a value of the plan nor an emitted file", advice)
        elif reference.kind == "plan" and reference.name not in known:
            below = [path for path in known if path.startswith(reference.name + ".")]
            message = f"no {reference.name} in the plan"
            if below:
                message = f"{reference.name} is not a single value of the plan"
            advice = f"it holds {', '.join(below[:6])}" if below else "`plan.json` lists every value"
            yield Fault(here, message, advice, None if below else nearest(reference.name, list(known)))
        elif reference.kind == "plan" and known[reference.name] in (None, ""):
            yield Fault(here, f"the recipe gives no {reference.name}", "set it in the recipe, or drop the argument")


def _asks(s: Train) -> set[str]:
    return {f"{one.kind}:{one.name}" for _key, one in _asked(s.script)} if s.script is not None else set()


@contradiction("P097", "script-without-its-folder", words=SCRIPT)
def output_folder(_see: Context, s: Train) -> Iterator[Fault]:
    """Finds a script without an argument for its output folder.

    Why is this bad:
    The next stage, the evaluation and a resumed run look for the result in the stage's folder.

    Example:
        recipe: 1
        name: example
        trainer: script
        script: {path: train.py, arguments: {batch: '${plan:train.batch.total}'}}
        train: {batch_size: 8}
        hardware: {gpu: a100-80gb}

    Use instead:
        script: {path: train.py, arguments: {out: '${plan:train.output}', batch: '${plan:train.batch.total}'}}
    """
    if s.script is None or not system(s.trainer).own_program or f"plan:{s.name}.output" in _asks(s):
        return
    advice = f"give it its folder, such as output-dir: ${{plan:{s.name}.output}}"
    yield Fault("script", "no argument gives the script its output folder", advice)


def _deepspeed_under_ray(s: Train) -> bool:
    return s.script is not None and s.script.launcher == "ray" and s.parallel.strategy.startswith("zero")


@contradiction("P108", "deepspeed-under-ray", words=(*SCRIPT, "parallel.strategy"))
def under_ray(_see: Context, s: Train) -> Iterator[Fault]:
    """Finds ZeRO with a script that Ray starts.

    Why is this bad:
    DeepSpeed is not in the environment that Ray's processes run in.

    Example:
        recipe: 1
        name: example
        trainer: script
        script: {path: train.py, launcher: ray, arguments: {out: '${plan:train.output}', batch: '${plan:train.batch.micro}'}}
        train: {micro_batch_size: 8}
        hardware: {gpu: a100-80gb, per_node: 4}
        parallel: {strategy: zero3}

    Use instead:
        script: {path: train.py, arguments: {out: '${plan:train.output}', batch: '${plan:train.batch.micro}'}}
    """
    if system(s.trainer).own_program and _deepspeed_under_ray(s):
        advice = "use launcher: accelerate, or deepspeed"
        yield Fault("parallel.strategy", "Ray's environment has no DeepSpeed", advice)


@contradiction("P098", "sharding-that-nothing-does", words=(*SCRIPT, "parallel.strategy"), waivable=True)
def sharding(_see: Context, s: Train) -> Iterator[Fault]:
    """Finds a sharding strategy that neither the launcher of a script nor the script itself applies.

    Why is this bad:
    These launchers only start processes. Each would hold the whole model, and memory would run out where the recipe
    counts on shards.

    Example:
        recipe: 1
        name: example
        trainer: script
        script: {path: train.py, launcher: torchrun, arguments: {out: '${plan:train.output}', batch: '${plan:train.batch.micro}'}}
        train: {micro_batch_size: 8}
        hardware: {gpu: a100-80gb, per_node: 4}
        parallel: {strategy: fsdp2}

    Use instead:
        script: {path: train.py, launcher: accelerate, arguments: {out: '${plan:train.output}', batch: '${plan:train.batch.micro}'}}

    When it is meant:
    The script always shards in this way, and takes no argument for it.
    """
    if s.script is None or not system(s.trainer).own_program:
        return
    asked, launcher, strategy = _asks(s), s.script.launcher, s.parallel.strategy
    if _deepspeed_under_ray(s):
        return
    shards = launcher == "accelerate" or strategy in ("single", "ddp") or f"plan:{s.name}.parallel.strategy" in asked
    if launcher == "deepspeed" and strategy.startswith("zero"):
        shards = shards or "file:ds_config.json" in asked
    if not shards:
        how = "deepspeed_config: ${file:ds_config.json}" if strategy.startswith("zero") else ""
        how = how or f"strategy: ${{plan:{s.name}.parallel.strategy}}"
        advice = f"use launcher: accelerate; or if the script shards by itself, pass it an argument such as {how}"
        message = f"{launcher} only starts processes: nothing would apply {strategy}"
        yield Fault("parallel.strategy", message, advice)


@contradiction("P099", "accumulation-that-nothing-does", words=(*SCRIPT, "train"))
def accumulation(_see: Context, s: Train) -> Iterator[Fault]:
    """Finds a script with an argument for the micro batch, but none for gradient accumulation.

    Why is this bad:
    A step would have fewer sequences than the recipe says.

    Example:
        recipe: 1
        name: example
        trainer: script
        script: {path: train.py, arguments: {out: '${plan:train.output}', batch: '${plan:train.batch.micro}'}}
        train: {micro_batch_size: 4, gradient_accumulation: 16}
        hardware: {gpu: a100-80gb}

    Use instead:
        train: {micro_batch_size: 4, gradient_accumulation: 1}
    """
    if s.script is None or not system(s.trainer).own_program or s.parallel.strategy.startswith("zero"):
        return
    batch = {f"plan:{s.name}.batch.{word}" for word in ("micro", "accumulation", "total")} & _asks(s)
    if batch == {f"plan:{s.name}.batch.micro"} and s.batch.accumulation > 1:
        message = f"no argument tells the script to accumulate gradients over {s.batch.accumulation} batches"
        advice = f"give it ${{plan:{s.name}.batch.accumulation}}, or set train.gradient_accumulation: 1"
        yield Fault("train", message, advice)


@contradiction("P299", "argument-that-the-script-lacks", words=SCRIPT)
def options(_see: Context, s: Train) -> Iterator[Fault]:
    """Finds an argument that the script does not declare, and one that it requires and is not given.

    Why is this bad:
    argparse ends with a usage message on every process, after the machine was rented and the environment made.

    Example:
        recipe: 1
        name: example
        trainer: script
        script: {path: scripts/loop.py, arguments: {out: '${plan:train.output}', batch-size: '${plan:train.batch.micro}', learning-rate: 1e-4}}
        train: {micro_batch_size: 8}
        hardware: {gpu: a100-80gb}

    Use instead:
        script: {path: scripts/loop.py, arguments: {out: '${plan:train.output}', batch-size: '${plan:train.batch.micro}', lr: 1e-4}}
    """
    if s.script is None or not system(s.trainer).own_program:
        return
    declared = declared_options(s.script.path)
    if declared is None:
        return
    known = [*(name for names in declared.required for name in names), *declared.optional]
    given = [f"--{key}" for key, value in s.script.arguments.items() if value is not False]
    for option in given:
        if option not in known and sum(one.startswith(option) for one in known) != 1:  # argparse takes abbreviations
            close = nearest(option, known)
            message = f"{s.script.path} declares no {option}"
            advice = f"it declares {', '.join(known)}"
            yield Fault(
                indexed("script.arguments", option[2:]),
                message,
                advice,
                None if close is None else close.removeprefix("--"),
            )
    for names in declared.required:
        if not any(name.startswith(one) for one in given for name in names):
            yield Fault("script", f"{s.script.path} requires {names[0]}", f"add {names[0][2:]} to script.arguments")


RULES = (
    options,
    which_program,
    arguments,
    output_folder,
    under_ray,
    sharding,
    accumulation,
)
