"""The committed contracts are what the extractors find in the real packages today.

Those of a tool's newest release are extracted each time. Of an older one, `extracted.json` keeps what it was last extracted
from: where extractor, pins and contract are the same, so is what would be found. `--update` extracts all, and keeps that.
"""

import hashlib
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from recipec import contracts
from recipec.facts import pins, version

ROOT = Path(__file__).parents[2]
# tool and release -> the environment that holds it
HELD = {
    ("axolotl", "0.17.0"): "axolotl-0.17.0",
    ("axolotl", "0.19.0"): "axolotl-0.19.0",
    ("axolotl", "0.21.0"): "axolotl-0.21.0-deepspeed",
    ("deepspeed", "0.18.9"): "llamafactory-0.9.5-deepspeed",
    ("accelerate", "1.13.0"): "axolotl-0.19.0",
    ("lm_eval", "0.4.11"): "axolotl-0.19.0",
    ("llamafactory", "0.9.5"): "llamafactory-0.9.5-deepspeed",
    ("accelerate", "1.11.0"): "llamafactory-0.9.5-deepspeed",
    ("openrlhf", "0.11.2"): "openrlhf-cli",
    ("deepspeed", "0.19.8"): "trl-1.16.0-deepspeed",
    ("accelerate", "1.15.0"): "trl-1.16.0-deepspeed",
    ("lm_eval", "0.4.13"): "trl-1.16.0-deepspeed",
    ("trl", "1.16.0"): "trl-1.16.0-deepspeed",
    ("trl", "1.9.0"): "trl-1.9.0",
    ("ray", "2.60.0"): "ray-2.60.0",
    ("unsloth", "2026.10.9"): "unsloth-2026.10.9",
    ("llmcompressor", "0.14.0.1"): "llmcompressor-0.14.0.1",
    ("gptqmodel", "7.6.0"): "gptqmodel-7.6.0",
    ("vllm", "0.33.0"): "vllm-cli",
    ("guidellm", "0.8.1"): "guidellm-0.8.1",
}


KEPT = Path(__file__).with_name("extracted.json")


def made_from(tool: str, release: str) -> str:
    """Return a hash of all that an extracted contract follows from, and of the contract."""
    own = Path(__file__).with_name(f"{HELD[tool, release]}.txt")
    parts = [ROOT / "scripts" / "contracts" / name for name in (f"{tool}.py", "common.py")]
    texts = [path.read_text(encoding="utf-8") for path in (*parts, contracts.DATA / f"{tool}-{release}.json")]
    texts.append(own.read_text(encoding="utf-8") if own.exists() else pins(HELD[tool, release]))
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()


def is_newest(tool: str, release: str) -> bool:
    return all(version(other) <= version(release) for name, other in HELD if name == tool)


def differing(old: Any, new: Any, path: str = "") -> list[str]:
    """Return the places where two contracts differ, for a message that can be read."""
    if isinstance(old, dict) and isinstance(new, dict):
        names = sorted({*old, *new})
        return [place for name in names for place in differing(old.get(name), new.get(name), f"{path}/{name}")]
    return [] if old == new else [path]


def test_every_contract_is_covered() -> None:
    held = {f"{tool}-{release}.json" for tool, release in HELD}
    held |= {f"{tool}-{release}.tasks" for tool, release in HELD if tool == "lm_eval"}
    assert held == {path.name for path in contracts.DATA.iterdir()}


@pytest.mark.conformance
@pytest.mark.parametrize(("tool", "release"), HELD)
def test_contract_is_current(
    tool: str, release: str, tool_python: Callable[[str], Path], tmp_path: Path, update: bool
) -> None:
    kept: dict[str, str] = json.loads(KEPT.read_text(encoding="utf-8"))
    name = f"{tool}-{release}"
    if not (update or is_newest(tool, release)) and kept.get(name) == made_from(tool, release):
        return
    python, out = tool_python(HELD[tool, release]), tmp_path / "contract.json"
    script = ROOT / "scripts" / "contracts" / f"{tool}.py"
    done = subprocess.run([python, script, out], capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    committed = (contracts.DATA / f"{tool}-{release}.json").read_text(encoding="utf-8")
    found = out.read_text(encoding="utf-8")
    assert differing(json.loads(committed), json.loads(found)) == []
    assert committed == found
    if update and not is_newest(tool, release):
        text = json.dumps({**kept, name: made_from(tool, release)}, indent=1, sort_keys=True)
        KEPT.write_text(f"{text}\n", encoding="utf-8")


@pytest.mark.conformance
@pytest.mark.parametrize("release", [release for tool, release in HELD if tool == "lm_eval"])
def test_list_of_tasks_is_current(release: str, tool_python: Callable[[str], Path], tmp_path: Path) -> None:
    python, out = tool_python(HELD["lm_eval", release]), tmp_path / "tasks"
    script = ROOT / "scripts" / "contracts" / "lm_eval_tasks.py"
    done = subprocess.run([python, script, out], capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    committed = (contracts.DATA / f"lm_eval-{release}.tasks").read_text(encoding="utf-8")
    assert set(out.read_text(encoding="utf-8").splitlines()) ^ set(committed.splitlines()) == set()
    assert out.read_text(encoding="utf-8") == committed
