#!/usr/bin/env bash
# Lets the answers be judged. Written by recipec from qwen2.5-7b-ko-logickor.yaml.
# Run it from the folder that the recipe's paths start at.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
environment=inspect-ai-0.3.285
bin="${RECIPE_ENVIRONMENTS:-runs/environments}/$environment/bin"
[ -x "$bin/python" ] || { echo "no environment at $bin: run ../run.sh, which makes it" >&2; exit 3; }
PATH="$(cd "$bin" && pwd):$PATH"
export PATH
export DO_NOT_TRACK=1
export HF_HUB_DISABLE_TELEMETRY=1
export TOKENIZERS_PARALLELISM=false

export PYTHONPATH="$here${PYTHONPATH:+:$PYTHONPATH}"
exec python "$here/judge_answers.py" "$here/judge.json"
