#!/usr/bin/env bash
# Prints a unit of systemd that serves the model from this folder: bash service.sh > ~/.config/systemd/user/NAME.service
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
at=${PWD//%/%%} made=${RECIPE_ENVIRONMENTS:-$PWD/runs/environments}
cat <<END
[Unit]
Description=qwen2.5-7b-ko-logickor, served by vllm_serve
After=network-online.target

[Service]
WorkingDirectory=$at
Environment="RECIPE_ENVIRONMENTS=${made//%/%%}"
${HF_HOME:+Environment="HF_HOME=${HF_HOME//%/%%}"}
ExecStart=/usr/bin/env bash "${here//%/%%}/serve.sh"
Restart=on-failure
RestartSec=10
TimeoutStopSec=60

[Install]
WantedBy=default.target
END
