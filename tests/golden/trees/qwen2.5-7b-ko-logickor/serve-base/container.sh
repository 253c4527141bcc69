#!/usr/bin/env bash
# Serves the model in vLLM's own container. Run it from the folder that the recipe's paths start at.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
export DO_NOT_TRACK=1
exec docker run --rm --gpus all --ipc host -p 127.0.0.1:8000:8000 -e HF_TOKEN -e DO_NOT_TRACK \
    -v "$PWD":/work -w /work -v "$here/vllm.yaml":/vllm.yaml:ro -v "${HF_HOME:-$HOME/.cache/huggingface}":/root/.cache/huggingface \
    vllm/vllm-openai:v0.33.0 --config /vllm.yaml --host 0.0.0.0
