"""Judge a script on Unsloth's API, on a GPU that is only declared.

A job: {"file": ".../train.py", "gpu": null | {"sm": "sm_86", "bf16": true}}. The script must compile. Its calls of
`from_pretrained` and `get_peft_model`, which swallow unknown keywords, are held against the signatures in Unsloth's
source, whose GPU code cannot be imported here. TRL's configuration class is really called, for
Unsloth's own too, which takes a few words and hands on the others.
"""

import ast
import inspect
from functools import cache
from importlib import import_module, util
from pathlib import Path
from unittest.mock import patch

from judging import Job, run

MODELS = Path(str(util.find_spec("unsloth").submodule_search_locations[0])) / "models"
PLACES = {
    "from_pretrained": ("loader.py", "FastLanguageModel"),
    "get_peft_model": ("llama.py", "FastLlamaModel"),
    "__init__": ("../trainer.py", "UnslothTrainingArguments"),
}
OWN = "UnslothTrainingArguments"


@cache
def parameters(name: str) -> set[str]:
    """Return the named parameters of a method of FastLanguageModel, and those that it hands on to PEFT."""
    file, owner = PLACES[name]
    tree = ast.parse((MODELS / file).read_text(encoding="utf-8"))
    classes = (part for part in ast.walk(tree) if isinstance(part, ast.ClassDef) and part.name == owner)
    methods = (part for found in classes for part in found.body if isinstance(part, ast.FunctionDef))
    arguments = next(method for method in methods if method.name == name).args
    more = inspect.signature(import_module("peft").LoraConfig).parameters if name == "get_peft_model" else ()
    return {argument.arg for argument in (*arguments.args, *arguments.kwonlyargs)} | set(more)


def judge(job: Job) -> list[str]:
    """Return the keywords that Unsloth's functions do not have. Raises what Python or TRL raises."""
    text = Path(job["file"]).read_text(encoding="utf-8")
    compile(text, job["file"], "exec")
    unknown: list[str] = []
    kept: list[ast.stmt] = []
    called: set[str] = set()
    for part in ast.parse(text).body:
        if isinstance(part, ast.ImportFrom) and part.module and part.module.split(".")[0] == "trl":
            kept.append(part)
        if not isinstance(part, ast.Assign) or not isinstance(part.value, ast.Call):
            continue
        function, keywords = part.value.func, part.value.keywords
        name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
        called.add(name)
        if name in PLACES:
            unknown += [str(word.arg) for word in keywords if word.arg not in parameters(name)]
        elif name == OWN:  # SFTConfig, and words of its own
            theirs = [word for word in keywords if word.arg not in parameters("__init__")]
            kept += ast.parse("from trl import SFTConfig").body
            kept.append(ast.Expr(ast.Call(ast.Name("SFTConfig", ast.Load()), [], theirs)))
        elif name.endswith("Config"):
            kept.append(part)
    if "from_pretrained" not in called or len(kept) < 2:
        raise ValueError("the script loads no model, or has no configuration")
    training, gpu = import_module("transformers.training_args"), job.get("gpu")
    with (
        patch.object(training, "is_torch_bf16_gpu_available", lambda: bool(gpu and gpu["bf16"])),
        patch.object(training, "is_torch_tf32_available", lambda: bool(gpu) and int(gpu["sm"][3:]) >= 80),
    ):
        exec(compile(ast.fix_missing_locations(ast.Module(kept, [])), job["file"], "exec"), {"__name__": "judged"})
    return unknown


if __name__ == "__main__":
    run(judge)
