"""Recipes that compile without errors, to lay other values into: those of `recipes/`, and a matrix made here.

The matrix has, for each trainer, every method that it declares: trained in full on one GPU, by an adapter on several,
and on a CPU in one of the two ways. What else may differ (formats, strategies, rewards) takes turns, so that each is met
somewhere. A script of one's own does the same with every method, so it is there once for each launcher.
"""

from collections import Counter
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any, get_args

from recipec.diagnostics import RecipeError
from recipec.edit import flow
from recipec.language.train import Method
from recipec.source import Mapping, Source
from recipec.systems.registry import doing, system
from recipec.yaml_reader import read_text

ROOT = Path(__file__).parents[2]
OWN = Path(__file__).parent / "recipes"
METHODS: tuple[str, ...] = get_args(Method)
TRAINERS = tuple(name for name in doing("train") if not system(name).own_program)
ONLINE = ("grpo", "rloo", "ppo")
FORMATS = {"pretrain": "text", "kto": "unpaired-preference", **dict.fromkeys(ONLINE, "prompt")}  # others: preference
SUPERVISED = {
    "chat": {"columns": {"messages": "turns"}},
    "completion": {"columns": {"prompt": "q", "completion": "a"}},
    "instruction": {"columns": {"output": "response"}},
}
PAIRS: tuple[dict[str, Any], ...] = ({"columns": {"prompt": "question"}}, {})
REWARDS: tuple[list[dict[str, Any]], ...] = (
    [{"type": "exact"}, {"type": "length", "max_words": 50, "weight": 0.5}],
    [{"type": "regex", "pattern": "<a>.*</a>"}, {"type": "language", "language": "ko"}],
    [{"type": "remote", "url": "http://judge:5000/score"}],
    [{"type": "model", "path": "org/judge.v1"}],
    [{"type": "python", "path": "own_rewards.py", "function": "judged"}],
)
SHARDED = ("zero3", "fsdp2", "ddp", "zero2")
OFFERED = {  # what of these a trainer with fewer than all can do
    "openrlhf": {"formats": ("completion", "chat"), "sharded": ("zero3", "zero2", "zero1")},
    "unsloth": {"formats": tuple(SUPERVISED), "sharded": ("single",)},
}
ALL = {"formats": tuple(SUPERVISED), "sharded": SHARDED}
LAUNCHERS = ("accelerate", "torchrun", "deepspeed", "ray")


@cache
def texts() -> dict[str, str]:
    """Return the text of every base by its name."""
    files = [*(ROOT / "recipes").glob("*.yaml"), *OWN.glob("said-*.yaml")]
    found = {path.stem: path.read_text(encoding="utf-8") for path in sorted(files)}
    found = {name: text for name, text in found.items() if "\nsweep:" not in text}  # which is many recipes
    return found | {name: _text(made) for name, made in {**matrix(), **COURSES, **SCRATCH}.items()}


@cache
def wrong() -> dict[str, str]:
    """Return the text of recipes with mistakes, to follow the advice on them."""
    files = [*(ROOT / "tests/bad/recipes").glob("*.yaml"), *OWN.glob("wrong-*.yaml")]
    found = {f"wrong-{path.stem.removeprefix('wrong-')}": path.read_bytes() for path in sorted(files)}
    return {name: text.decode() for name, text in found.items() if _readable(name, text)}


def names() -> list[str]:
    """Return the names of all recipes that are judged."""
    return [*texts(), *wrong()]


@cache
def thirds() -> dict[str, set[int]]:
    """Return which thirds of its leaves are judged of a base: their numbers modulo 3. Of others, all are.

    Of the made recipes of one trainer and method, each leaves out another third. Each shipped recipe has another third
    alone: its words are those of the made ones.
    """
    met: Counter[str] = Counter()
    turns = {}
    for name in matrix():
        kind = "-".join(name.split("-")[:2])
        turns[name] = met[kind]
        met[kind] += 1
    made = {name: {0, 1, 2} - {turn % 3} for name, turn in turns.items() if met["-".join(name.split("-")[:2])] > 1}
    shipped = sorted(path.stem for path in (ROOT / "recipes").glob("*.yaml"))
    return made | {name: {turn % 3} for turn, name in enumerate(shipped)}


def _readable(name: str, text: bytes) -> bool:
    try:
        return isinstance(read_text(Source(name, text.decode())), Mapping)
    except (RecipeError, UnicodeDecodeError):
        return False


@cache
def located(name: str) -> Mapping:
    """Return a base as a located tree."""
    found = read_text(Source(name, texts()[name] if name in texts() else wrong()[name]))
    assert isinstance(found, Mapping)
    return found


def _text(recipe: dict[str, Any]) -> str:
    return "".join(f"{key}: {flow(value)}\n" for key, value in recipe.items())


def matrix() -> dict[str, dict[str, Any]]:
    """Return the made recipes: every trainer with every method that it declares."""
    found = {}
    for name in TRAINERS:
        turns = count()
        for method in (method for method in METHODS if method in system(name).can["method"]):
            for adapter, device, processes in _machines(name, method):
                turn = next(turns)
                kind = f"{name}-{method}-{'lora' if adapter else 'full'}-{device}-{processes}"
                found[kind] = _recipe(name, method, turn, adapter=adapter, device=device, processes=processes)
    return found | {f"script-{launcher}": _script(launcher) for launcher in LAUNCHERS}


def _machines(name: str, method: str) -> list[tuple[bool, str, int]]:
    """Return whether an adapter is trained, on what, and by how many processes."""
    online = method in ONLINE
    if name == "openrlhf":
        return [(False, "gpu", 1), (not online, "gpu", 4)]
    several = 1 if system(name).can["parallel.strategy"] == {"single"} else 4
    turn = METHODS.index(method)
    alone = bool(system(name).one_process) or turn % 2
    return [(False, "gpu", 1), (True, "gpu", several), (turn % 2 == 0, "cpu", 1 if alone else 2)]


def _recipe(name: str, method: str, turn: int, *, adapter: bool, device: str, processes: int) -> dict[str, Any]:
    online, offered = method in ONLINE, OFFERED.get(name, ALL)
    recipe: dict[str, Any] = {"recipe": 1, "name": "base", "trainer": name}
    recipe["model"] = {"base": "meta-llama/Llama-3.2-1B-Instruct"}
    recipe["data"] = {"train": _sources(method, offered["formats"][turn % len(offered["formats"])], turn)}
    recipe["train"] = {"method": method, "learning_rate": 1e-5, "batch_size": 32, "micro_batch_size": 4}
    recipe["train"] |= {"save": {"every": 50}, "log_every": 5}
    if (
        method in ("pretrain", "sft")
        and name != "openrlhf"
        and turn % 2
        and not (name == "unsloth" and device == "cpu")
    ):
        recipe["data"]["packing"] = True
    recipe["hardware"] = {"gpu": "a100-80gb" if device == "gpu" else "none", "per_node": processes}
    if adapter:
        recipe["adapter"] = {"rank": 8, "alpha": 16}
    if processes > 1 and device == "gpu":
        recipe["parallel"] = {"strategy": offered["sharded"][turn % len(offered["sharded"])]}
    elif name == "openrlhf":
        recipe["parallel"] = {"strategy": "zero2"}
    if online:
        recipe["rewards"] = REWARDS[turn % len(REWARDS)]
        recipe["rollout"] = {"completions": 4, "max_new_tokens": 128}
        if name == "openrlhf":
            recipe["rollout"]["engine"] = "vllm"
    return recipe


def _sources(method: str, supervised: str, turn: int) -> list[dict[str, Any]]:
    source: dict[str, Any] = {"path": "data/rows.jsonl"} if turn % 3 else {"hub": "org/rows"}
    if method == "sft":
        return [source | {"format": supervised, **SUPERVISED[supervised]}]
    kind = FORMATS.get(method, "preference")
    if kind == "preference":
        return [source | {"format": kind, **PAIRS[turn % 2]}]
    return [source | {"format": kind} | ({"columns": {"answer": "solution"}} if kind == "prompt" else {})]


def _script(launcher: str) -> dict[str, Any]:
    """A script hears what its arguments name, whatever the method: only what starts it differs."""
    told: dict[str, Any] = {"output-dir": "${plan:train.output}", "strategy": "${plan:train.parallel.strategy}"}
    told |= {"rate": "${plan:train.optimizer.learning_rate}", "seed": "${plan:train.seed}", "rows": "data.bin"}
    told |= {"accumulation": "${plan:train.batch.accumulation}", "flag": True}
    recipe: dict[str, Any] = {"recipe": 1, "name": "base", "trainer": "script"}
    recipe["script"] = {"path": "train.py", "launcher": launcher, "arguments": told}
    recipe |= {"train": {"batch_size": 32, "learning_rate": 1e-3}, "hardware": {"gpu": "a100-80gb", "per_node": 4}}
    return recipe


def _course(name: str, *, strategy: str) -> dict[str, Any]:
    """Two trainings, the second of what the first left, with most words in the stages."""
    formats = OFFERED.get(name, ALL)["formats"]
    first = {"name": "first", "data": {"train": _sources("sft", formats[0], 1)}, "train": {"learning_rate": 1e-5}}
    second = {"name": "second", "parent_adapter": "merge", "data": {"train": _sources("dpo", formats[0], 1)}}
    second["train"] = {"method": "dpo", "learning_rate": 1e-6, "beta": 0.2}
    recipe = {"recipe": 1, "name": "course", "trainer": name, "model": {"base": "meta-llama/Llama-3.2-1B-Instruct"}}
    recipe |= {"adapter": {"rank": 8}, "train": {"batch_size": 32, "save": {"every": 50}}}
    recipe |= {"hardware": {"gpu": "a100-80gb", "per_node": 1}, "parallel": {"strategy": strategy}}
    return {**recipe, "stages": [first, second]}


def _merging(merge: str | dict[str, Any]) -> dict[str, Any]:
    """Two adapters of one model, which a stage merges."""
    recipe = _course("trl", strategy="single")
    first, second = recipe["stages"]
    second = {word: second[word] for word in ("name", "data", "train")} | {"start_from": "base"}
    return {**recipe, "stages": [first, second, {"name": "both", "merge": merge}]}


COURSES = {f"course-{name}": _course(name, strategy="zero2" if name == "openrlhf" else "single") for name in TRAINERS}
COURSES["course-merging"] = _merging(
    {"adapters": {"first": 0.6, "second": 0.4}, "how": "ties", "density": 0.5, "majority": "frequency"}
)
COURSES["course-merged"] = _merging("second")


def _writing() -> dict[str, Any]:
    """A model that writes the pairs on which it is trained further, and that is evaluated in between."""
    recipe = _course("trl", strategy="single")
    first, second = recipe["stages"]
    prompts = [
        {"path": "data/prompts.jsonl", "format": "prompt", "columns": {"answer": "solution"}, "system": "Be brief."}
    ]
    pairs = {
        "name": "pairs",
        "generate": {"prompts": prompts, "makes": "preference", "min_reward": 0.5, "margin": 0.25},
    }
    pairs |= {"rollout": {"completions": 6, "max_new_tokens": 99}, "rewards": [{"type": "exact"}]}
    checked = {"name": "checked", "start_from": "first", "evaluate": {"tasks": ["gsm8k"], "few_shot": 3}}
    checked["evaluate"] |= {"require": {"gsm8k": "> 0.2"}, "confidence": 0.9}
    kept = {"path": "keep.py", "makes": "rows", "format": "preference", "file": "kept.jsonl", "launcher": "torchrun"}
    kept |= {"reads": ["data/stop.txt"], "arguments": {"rows": "${plan:pairs.rows}", "to": "${plan:kept.output}"}}
    chosen = {"name": "kept", "start_from": "first", "script": kept}
    second |= {"data": {"train": [{"stage": "kept", "format": "preference"}]}, "start_from": "first"}
    return {**recipe, "stages": [first, checked, pairs, chosen, second]}


COURSES["course-writing"] = _writing()


def _quantised() -> dict[str, Any]:
    """A model in fewer bits, by both tools: with its own rows and every word of a method, and by what it was trained on."""
    recipe = _course("trl", strategy="single")
    first, second = recipe["stages"]
    rows = {"path": "data/held.jsonl", "format": "completion", "columns": {"prompt": "q", "completion": "a"}}
    own = {"data": [rows], "rows": 99, "max_length": 777}
    grouped = {
        "scheme": "w4a16",
        "group_size": 64,
        "symmetric": False,
        "act_order": "group",
        "damping": 0.05,
        "measure": 9,
    }
    stages = [
        {"name": "grouped", "quantize": {**grouped, "ignore": ["lm_head", "model.layers.0"], "calibration": own}},
        {"name": "packed", "start_from": "first", "quantize": {"scheme": "w8a16", "tool": "gptqmodel"}},
        {"name": "smoothed", "start_from": "first", "quantize": {"scheme": "w8a8", "smoothing": 0.5}},
        {"name": "floating", "start_from": "first", "quantize": {"scheme": "fp8"}, "hardware": {"gpu": "h100-80gb"}},
    ]
    stages[0]["start_from"] = "first"
    return {**recipe, "stages": [first, second, *stages]}


COURSES["course-quantised"] = _quantised()


def _served() -> dict[str, Any]:
    """An adapter, and beside it another, that vLLM serves; and the merged model, with all that a server may be told."""
    recipe = _course("trl", strategy="single")
    first, second = recipe["stages"]
    more = {"name": "more", "start_from": "base", "data": first["data"], "train": first["train"]}
    every = {
        "name": "shop",
        "host": "0.0.0.0",
        "port": 9000,
        "key_variable": "SHOP_KEY",
        "max_length": 1024,
        "max_requests": 32,
    }
    every |= {
        "max_batched_tokens": 4096,
        "gpu_memory_share": 0.8,
        "tensor_parallel": 2,
        "data_parallel": 2,
        "prefix_caching": False,
    }
    every |= {"kv_cache": "fp8", "tool_parser": "hermes", "reasoning_parser": "qwen3", "structured_outputs": "xgrammar"}
    every |= {"speculative": {"method": "draft_model", "model": "org/little", "tokens": 3}, "ask": "How much is it?"}
    stages = [
        {"name": "both", "start_from": "first", "serve": {"adapters": ["more"]}},
        {"name": "merged", "merge": "first"},
        {"name": "told", "serve": every},
        {"name": "local", "start_from": "first", "serve": {"port": 8001}, "hardware": {"gpu": "none", "per_node": 1}},
    ]
    return {
        **recipe,
        "hardware": {"gpu": "h100-80gb", "per_node": 4},
        "parallel": {},
        "stages": [first, second, more, *stages],
    }


COURSES["course-served"] = _served()


def _judged() -> dict[str, dict[str, Any]]:
    """Two models whose answers are judged, in every way that there is, with all that may be said of it; and one between two trainings."""
    recipe = _course("trl", strategy="single")
    first, second = recipe["stages"]
    one = {
        "model": "gpt-4.1",
        "url": "https://judge.example/v1",
        "key_variable": "JUDGE_KEY",
        "price": {"input": 2.0, "output": 8.0},
    }
    two = {
        "model": "local",
        "url": "http://127.0.0.1:8000/v1",
        "temperature": 0.5,
        "max_tokens": 512,
        "price": {"input": 0.0, "output": 0.0},
    }
    asked = {"questions": "data/question.jsonl", "by": [one, two], "allow": ["https://judge.example/v1"]}
    more = {
        "limit": 40,
        "max_tokens": 512,
        "temperature": 0.3,
        "attempts": 2,
        "max_unparsed": 0.1,
        "max_cost": 9.0,
        "connections": 4,
    }
    judged = [
        {
            "benchmark": "mt_bench",
            "references": "data/reference.jsonl",
            "prompts": "data/prompts.jsonl",
            **asked,
            **more,
        },
        {"benchmark": "mt_bench", "name": "both", "mode": "pairwise", "against": "base", **asked},
        {"benchmark": "logickor", "questions": "LogicKor", "shots": "1-shot", "by": [two], "limit": 42},
        {"benchmark": "pairs", "against_answers": "data/answers.jsonl", **asked},
        {"benchmark": "rubric", "rubric": "It is short.", **asked},
    ]
    evaluate = {"models": ["first", "second"], "judge": judged, "server": "transformers_serve"}
    model = {**recipe["model"], "base": "Qwen/Qwen2.5-7B-Instruct"}
    own = {"name": "scores", "start_from": "first", "evaluate": {"judge": [judged[0], judged[4]]}}
    return {
        "course-judged": {**recipe, "model": model, "stages": [first, second], "evaluate": evaluate},
        "course-judged-between": {**recipe, "model": model, "stages": [first, own, {**second, "start_from": "first"}]},
    }


COURSES |= _judged()
SCRATCH = {
    f"scratch-{name}": {
        "recipe": 1,
        "name": "scratch",
        "trainer": name,
        "model": {"from_scratch": {"family": "llama", "hidden_size": 64, "layers": 2, "heads": 4}, "max_length": 64},
        "data": {"train": [{"path": "data/rows.jsonl", "format": "text"}]},
        "train": {"method": "pretrain", "learning_rate": 1e-3},
        "hardware": {"gpu": "none"},
    }
    for name in ("axolotl", "trl", "llamafactory", "unsloth")
}
