"""The scripts that run each stage, and the whole, without us."""

from __future__ import annotations

from shlex import quote

from recipec.plan import EvaluateStage, InitStage, Plan, Stage, TrainStage

HEAD = """#!/usr/bin/env bash
# {what} Written by recipec from {recipe}.
# Run it from the folder that the recipe's paths start at.
set -euo pipefail
here=$(cd "$(dirname "${{BASH_SOURCE[0]}}")" && pwd)
"""


def stage_script(stage: Stage, plan: Plan, environment: str, recipe: str) -> str:
    """Return `run.sh` of one stage."""
    lines = [
        f"environment={quote(environment)}",
        'bin="${RECIPE_ENVIRONMENTS:-runs/environments}/$environment/bin"',
        '[ -x "$bin/python" ] || { echo "no environment at $bin: run ../run.sh, which makes it" >&2; exit 3; }',
        'PATH="$(cd "$bin" && pwd):$PATH"',
        "export PATH",
    ]
    variables = {**_switches(stage), **plan.variables}
    lines += [f"export {name}={quote(value)}" for name, value in sorted(variables.items())]
    if isinstance(stage, InitStage):
        what, body = (
            "Makes the tokenizer and a model with random weights.",
            ['exec python "$here/init_model.py" "$here/init.json"'],
        )
    elif isinstance(stage, TrainStage):
        what, body = "Trains.", _train(stage)
    else:
        what = "Evaluates."
        body = []
        for number, model in enumerate(stage.models, 1):
            body.append(_heading(f"{model.name} ({number} of {len(stage.models)})"))
            body.append(f'lm-eval run --config "$here/lm_eval.{model.name}.yaml"')
    return HEAD.format(what=what, recipe=recipe) + "\n".join([*lines, "", *body]) + "\n"


def _switches(stage: Stage) -> dict[str, str]:
    values = {"TOKENIZERS_PARALLELISM": "false"}
    telemetry = not isinstance(stage, InitStage) and stage.track.telemetry
    if isinstance(stage, TrainStage) and not telemetry:
        values["AXOLOTL_DO_NOT_TRACK"] = "1"
    if isinstance(stage, EvaluateStage) and stage.allow_code_execution:
        values["HF_ALLOW_CODE_EVAL"] = "1"
    if not telemetry:
        values |= {"DO_NOT_TRACK": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
    return values


def _heading(text: str) -> str:
    """Return the command that says what comes next; `recipe run` shows it (`engine/progress.py`)."""
    return f"echo {quote('== ' + text)}"


def _train(stage: TrainStage) -> list[str]:
    resume = '${RECIPE_RESUME_FROM:+"--resume-from-checkpoint=$RECIPE_RESUME_FROM"}'
    config = '"$here/axolotl.yaml"'
    strategy = stage.parallel.strategy
    if strategy == "single":
        body = [f"axolotl train {config} --launcher python {resume}"]
    else:
        launch = 'accelerate launch --config_file "$here/accelerate.yaml"'
        if strategy.startswith("zero"):
            launch += ' --deepspeed_config_file "$here/ds_config.json"'
            config += ' --deepspeed "$here/ds_config.json"'
        if stage.hardware.nodes > 1:
            launch += ' --machine_rank "${NODE_RANK:?rank of this node, from 0}"'
            launch += (
                ' --main_process_ip "${MASTER_ADDR:?address of node 0}" --main_process_port "${MASTER_PORT:-29500}"'
            )
        body = [f"{launch} \\", f"  -m axolotl.cli.train {config} {resume}"]
    if stage.adapter is not None and stage.adapter.merge:
        body.append(_heading("merging the adapter"))
        body += [f'axolotl merge-lora "$here/axolotl.yaml" --lora-model-dir={quote(stage.output)}']
    return body


def run_script(stages: list[tuple[str, str]], environments: dict[str, str], files: list[str], recipe: str) -> str:
    """Return the `run.sh` of the whole: missing environments are made, then the stages run in order.

    `stages` are (id, environment), `environments` map a name to its flags for builds without isolation.
    """
    lines = [
        'environments="${RECIPE_ENVIRONMENTS:-runs/environments}"',
        'python="${PYTHON:-python3}"',
        "make_environment() {  # name, packages that build against the others",
        '  local folder="$environments/$1" pins="$here/environments/$1.txt" late',
        '  [ -L "$folder" ] || cmp -s "$pins" "$folder/.complete" && return',
        '  "$python" -c "import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))" || {',
        '    echo "the environment needs Python 3.11 to 3.13; $python is not that: set PYTHON=/path/to/python3.11" >&2',
        "    exit 3",
        "  }",
        '  echo "making the environment $1 under $environments" >&2',
        '  rm -rf "$folder"  # of a creation that was killed: half of a package looks whole to pip',
        '  mkdir -p "$environments"',
        '  "$python" -m venv "$folder"',
        '  cp "$pins" "$folder/pins.txt"',
        "  for late in $2; do",
        '    grep -v "^$late==" "$folder/pins.txt" > "$folder/fewer.txt"',
        '    mv "$folder/fewer.txt" "$folder/pins.txt"',
        "  done",
        '  "$folder/bin/python" -m pip install -r "$folder/pins.txt"',
        '  if [ -n "$2" ]; then',
        '    DS_BUILD_OPS=0 "$folder/bin/python" -m pip install --no-build-isolation -r "$pins"',
        "  fi",
        '  cp "$pins" "$folder/.new" && mv "$folder/.new" "$folder/.complete"',
        "}",
    ]
    lines += [
        "need() {  # data file",
        '  [ -e "$1" ] && return',
        '  echo "no file $1: run this from the folder that the paths of the recipe start at" >&2',
        "  exit 2",
        "}",
        *(f"need {quote(file)}" for file in sorted(set(files))),
    ]
    lines += [f"make_environment {quote(name)} {quote(late)}" for name, late in environments.items()]
    lines += [f'bash "$here/{name}/run.sh"' for name, _environment in stages]
    return HEAD.format(what="Runs every stage in order.", recipe=recipe) + "\n".join(lines) + "\n"


def models(stage: Stage) -> list[str]:
    """Return the names of the models that a stage evaluates."""
    return [model.name for model in stage.models] if isinstance(stage, EvaluateStage) else []
