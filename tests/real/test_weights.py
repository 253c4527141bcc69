"""In which format the weights are that an optimiser really steps, for each trainer, strategy and `model.load_in`.

Files for GPUs, emitted unchanged, train one or two ranks on the CPU (`shim/` stands in for the GPUs); a hook in torch's
optimisers tells the formats of the parameters that they step, and of their states.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from meeting import alone, extensions, run_script

from recipec.diagnostics import errors
from recipec.output import write
from recipec.pipeline import compile_file

HERE = Path(__file__).parent
RECIPE = HERE / "distributed" / "two-gpus.yaml"
FLOAT, BF16 = ["float32"], ["bfloat16"]
DEEPSPEED = {
    "axolotl": "axolotl-0.21.0-deepspeed",
    "trl": "trl-1.16.0-deepspeed",
    "llamafactory": "llamafactory-0.9.5-deepspeed",
}
ALONE = {**DEEPSPEED, "unsloth": "unsloth-2026.10.9"}  # whose CPU path can be told no format of all weights
# Axolotl's own kernels for LoRA are for CUDA alone.
KERNELS = [f"overrides.axolotl.lora_{part}_kernel=false" for part in ("mlp", "qkv", "o", "embedding")]
TO_BF16 = """
import pathlib, sys, torch
from safetensors.torch import load_file, save_file
for file in pathlib.Path(sys.argv[1]).glob("*.safetensors"):
    save_file({name: one.to(torch.bfloat16) for name, one in load_file(file).items()}, file, {"format": "pt"})
config = pathlib.Path(sys.argv[1]) / "config.json"
config.write_text(config.read_text().replace("float32", "bfloat16"))
"""


def formats(
    place: Path, trainer: str, real: Path, *settings: str, strategy: str = "single", two: bool = False
) -> dict[str, list[str]]:
    """Return the formats of the parameters and states in the last step of a training, by what they are."""
    (place / "data").mkdir()
    rows = [
        {"messages": [{"role": "user", "content": f"Is tea {n} a drink?"}, {"role": "assistant", "content": "Yes."}]}
        for n in range(24)
    ]
    (place / "data" / "conversations.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    words = ["name=case", f"trainer={trainer}", f"parallel.strategy={strategy}", "train.steps=2", "train.save.every=2"]
    words += [f"hardware.per_node={2 if two else 1}", *settings]
    compiled = compile_file(str(RECIPE), words)
    assert errors(compiled.findings) == []
    write(place / "build", compiled.files)
    (place / "environments").mkdir()
    for file in sorted((place / "build" / "environments").glob("*.txt")):
        (place / "environments" / file.stem).symlink_to(real)
    told = place / "formats.json"
    known = {
        "PATH": os.environ["PATH"],
        "HOME": str(place),
        "RECIPE_ENVIRONMENTS": str(place / "environments"),
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
        **extensions(real),
    }
    init = (place / "build" / "init" / "init.json").read_text()
    if init not in MADE:  # every strategy of a trainer begins with the same model
        run_script(place, "build/init/run.sh", known)
        MADE[init] = place / "runs" / "case" / "init"
    else:
        shutil.copytree(MADE[init], place / "runs" / "case" / "init")
    if "model.load_in=bf16" in settings:  # as models of the hub are saved
        kept = place / "runs" / "case" / "init"
        shutil.copytree(kept, place / "float")
        subprocess.run([real / "bin" / "python", "-c", TO_BF16, kept], check=True)
        MADE[init] = place / "float"
    run_script(place, "build/train/run.sh", known | {"RECIPEC_FORMATS": str(told), "PYTHONPATH": str(HERE / "shim")})
    found: dict[str, list[str]] = json.loads(told.read_text())
    return found


MADE: dict[str, Path] = {}  # models by the settings that they were made from


@pytest.mark.real
@pytest.mark.parametrize("trainer", DEEPSPEED)
@pytest.mark.parametrize(("load_in", "kept"), [(None, FLOAT), ("bf16", BF16)])
def test_all_weights_on_one_gpu(
    trainer: str, load_in: str | None, kept: list[str], tmp_path: Path, tool_python: Callable[[str], Path]
) -> None:
    real = tool_python(DEEPSPEED[trainer]).parent.parent
    settings = [] if load_in is None else [f"model.load_in={load_in}"]
    found = formats(tmp_path, trainer, real, *settings)
    if trainer == "axolotl" and kept == BF16:  # it turns embeddings and norms to fp32
        kept = [*BF16, *FLOAT]
    assert found == {"parameters": kept, "states": kept}


@pytest.mark.parametrize("trainer", DEEPSPEED)
def test_fp32_weights_are_what_a_trainer_is_given_anyway(trainer: str) -> None:
    """So that what is asked above of the one holds for the other."""
    words = [f"trainer={trainer}", "hardware.per_node=1", "parallel.strategy=single"]
    usual, said = (compile_file(str(RECIPE), [*words, *more]).files for more in ([], ["model.load_in=fp32"]))
    told = {name: text for name, text in usual.items() if name.startswith("train/")}
    assert told
    assert {name: text for name, text in said.items() if name.startswith("train/")} == told


@pytest.mark.real
@pytest.mark.parametrize("trainer", ALONE)
def test_an_adapter_is_trained_in_fp32(trainer: str, tmp_path: Path, tool_python: Callable[[str], Path]) -> None:
    real = tool_python(ALONE[trainer]).parent.parent
    settings = ["adapter={rank: 4}", *(KERNELS if trainer == "axolotl" else [])]
    assert formats(tmp_path, trainer, real, *settings) == {"parameters": FLOAT, "states": FLOAT}


@pytest.mark.real
@pytest.mark.parametrize(
    ("strategy", "load_in", "kept", "trainer"),
    [
        *(("ddp", "bf16", BF16, trainer) for trainer in DEEPSPEED),
        *(("fsdp2", "bf16", None, trainer) for trainer in DEEPSPEED),
        # of Axolotl and TRL, test_distributed.py and test_trl.py ask the same of the runs that they compare
        *((strategy, None, FLOAT, "llamafactory") for strategy in ("fsdp2", "zero2", "zero3")),
    ],
)
def test_all_weights_on_two_gpus(
    trainer: str,
    strategy: str,
    load_in: str | None,
    kept: list[str] | None,
    tmp_path: Path,
    tool_python: Callable[[str], Path],
) -> None:
    """Under FSDP2, accelerate makes fp32 copies of what is loaded in bf16; Axolotl's own way of sharding does not."""
    expected = kept or (BF16 if trainer == "axolotl" else FLOAT)
    if trainer == "axolotl" and strategy == "ddp" and kept == BF16:
        expected = [*BF16, *FLOAT]
    real = tool_python(DEEPSPEED[trainer]).parent.parent
    settings = [] if load_in is None else [f"model.load_in={load_in}"]
    with alone():
        found = formats(tmp_path, trainer, real, *settings, strategy=strategy, two=True)
    assert found == {"parameters": expected, "states": expected}
