#!/usr/bin/env bash
# Runs every stage in order. Written by recipec from qwen2.5-7b-awq-tuned.yaml.
# Run it from the folder that the recipe's paths start at.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
environments="${RECIPE_ENVIRONMENTS:-runs/environments}"
whole() {  # folder, pins
  [ -L "$1" ] || cmp -s "$2" "$1/.complete"
}
find_python() {  # versions that the pins can be installed for, the best first
  local version one
  local -a places
  for version in $1; do
    places=(python3 "python$version" "${PYENV_ROOT:-${HOME:-}/.pyenv}/versions/$version".*/bin/python)
    [ -z "${PYTHON:-}" ] || places=("$PYTHON")
    for one in "${places[@]}"; do
      "$one" -c 'import sys, venv, ensurepip; sys.exit("%d.%d" % sys.version_info[:2] != sys.argv[1])' \
        "$version" 2>/dev/null && echo "$one" && return
    done
  done
  echo "the environment needs Python ${1// / or } with venv: install it, or set PYTHON to its path" >&2
  exit 3
}
needs_cuda='import importlib.metadata as m, sys
sys.exit(not any(one.startswith("nvidia-") for one in m.requires("torch") or ()))'
make_environment() {  # name, packages that build against the others
  local folder="$environments/$1" pins="$here/environments/$1.txt" python late hashed=""
  local unhashed="${RECIPEC_UNHASHED:-}"
  whole "$folder" "$pins" && return
  python=$(find_python "$(sed -n 's/^# python: //p' "$pins")")
  mkdir -p "$environments"
  # one run or node makes it, the others wait; the lock goes with the process that holds it
  exec 9>"$folder.lock"
  "$python" -c "import fcntl; fcntl.flock(9, fcntl.LOCK_EX)" || {
    echo "$environments takes no locks: set RECIPE_ENVIRONMENTS to a folder on another file system" >&2
    exit 3
  }
  if whole "$folder" "$pins"; then exec 9>&-; return; fi
  echo "making the environment $1 under $environments" >&2
  rm -rf "$folder"  # of a creation that was killed: half of a package looks whole to pip
  "$python" -m venv "$folder"
  # what the pins have a hash of is compared with it; RECIPEC_UNHASHED names packages that are not, or all
  if [ "$unhashed" = all ]; then late=" --hash=.*"; else late="^$"; fi
  sed "s/$late//" "$pins" > "$folder/whole.txt"
  if grep -q " --hash=" "$folder/whole.txt"; then hashed=--require-hashes; fi
  for late in ${unhashed//,/ }; do
    sed -n "s/^\($late==[^ ]*\).*/\1/p" "$folder/whole.txt" > "$folder/unhashed.txt"
    [ ! -s "$folder/unhashed.txt" ] || "$folder/bin/python" -m pip install -r "$folder/unhashed.txt"
  done
  if grep "^torch==" "$folder/whole.txt" > "$folder/torch.txt"; then
    "$folder/bin/python" -m pip install ${hashed:+"$hashed"} --no-deps -r "$folder/torch.txt"
    # its build for CUDA needs libraries that another does not
    if "$folder/bin/python" -c "$needs_cuda"; then
      late=$(sed -n 's/^# cuda: //p' "$folder/whole.txt")
      echo "$late" >> "$folder/whole.txt"
    fi
  fi
  cp "$folder/whole.txt" "$folder/pins.txt"
  for late in $2; do
    grep -v "^$late==" "$folder/pins.txt" > "$folder/fewer.txt"
    mv "$folder/fewer.txt" "$folder/pins.txt"
  done
  "$folder/bin/python" -m pip install ${hashed:+"$hashed"} -r "$folder/pins.txt"
  if [ -n "$2" ]; then
    DS_BUILD_OPS=0 "$folder/bin/python" -m pip install ${hashed:+"$hashed"} --no-build-isolation -r "$folder/whole.txt"
  fi
  cp "$pins" "$folder/.new" && mv "$folder/.new" "$folder/.complete"
  exec 9>&-
}
need() {  # data file
  [ -e "$1" ] && return
  echo "no file $1: run this from the folder that the paths of the recipe start at" >&2
  exit 2
}
need recipes/data/shop_chat.jsonl
make_environment llmcompressor-0.14.0.1 ''
make_environment vllm-0.33.0 ''
for stage; do bash "$here/$stage/run.sh"; done  # those that are named
[ $# = 0 ] || exit 0
bash "$here/small/run.sh"
bash "$here/served/run.sh"
bash "$here/speed/run.sh"
