#!/usr/bin/env bash
# Runs every stage in order. Written by recipec from llama-3-8b-medical-unsloth.yaml.
# Run it from the folder that the recipe's paths start at.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
environments="${RECIPE_ENVIRONMENTS:-runs/environments}"
make_environment() {  # name, packages that build against the others
  [ -e "$environments/$1/.complete" ] || [ -L "$environments/$1" ] && return
  echo "making the environment $1 under $environments" >&2
  python3 -m venv "$environments/$1"
  cp "$here/environments/$1.txt" "$environments/$1/pins.txt"
  for late in $2; do sed -i "/^$late==/d" "$environments/$1/pins.txt"; done
  # a CUDA build of torch comes with libraries that are not among the pins
  [ -z "${3:-}" ] || "$environments/$1/bin/python" -m pip install "$(grep ^torch== "$environments/$1/pins.txt")"
  "$environments/$1/bin/python" -m pip install ${3:+"$3"} -r "$environments/$1/pins.txt"
  if [ -n "$2" ]; then
    DS_BUILD_OPS=0 "$environments/$1/bin/python" -m pip install ${3:+"$3"} --no-build-isolation -r "$here/environments/$1.txt"
  fi
  touch "$environments/$1/.complete"
}
need() {  # data file
  [ -e "$1" ] && return
  echo "no file $1: run this from the folder that the paths of the recipe start at" >&2
  exit 2
}
need recipes/data/medical_qa.jsonl
# unsloth-2026.10.9: without torchvision, xformers
make_environment unsloth-2026.10.9 '' --no-deps ''
bash "$here/10-train/run.sh"
bash "$here/15-merge/run.sh"
bash "$here/20-evaluate/run.sh"
