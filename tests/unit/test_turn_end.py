"""The token that ends an answer: what is known of templates and tokenizers, and what is decided and emitted of it."""

import json
from pathlib import Path
from typing import Any, get_args

import pytest

from recipec.facts.models import _file  # pyright: ignore[reportPrivateUsage]
from recipec.facts.tokens import Template, ends, known_tokenizer, template
from recipec.language.model import ChatTemplate
from recipec.pipeline import Compiled, compile_tree
from recipec.source import Source, plain
from recipec.yaml_reader import read_text

RECIPE = """recipe: 1
name: small
trainer: {trainer}
model: {{base: {base}{model}}}
data: {{train: [{{path: rows.jsonl, format: {format}}}]}}
train: {{learning_rate: 1e-5, micro_batch_size: 1{train}}}
hardware: {{gpu: h200-141gb}}
{more}"""


def compiled(
    base: str, laid: str | None = None, *, trainer: str = "axolotl", model: str = "", **words: str
) -> Compiled:
    given = (f", chat_template: {laid}" if laid else "") + model
    words = {"format": "chat", "train": "", "more": "", **words}
    text = RECIPE.format(trainer=trainer, base=base, model=given, **words)
    return compile_tree(read_text(Source("recipe.yaml", text)))


def emitted(found: Compiled, file: str) -> dict[str, Any]:
    assert [one.message for one in found.findings if one.severity == "error"] == []
    values: Any = plain(read_text(Source(file, found.files[f"train/{file}"])))
    return values


def test_every_template_of_the_language_is_known() -> None:
    for name in get_args(ChatTemplate):
        assert (template(name) is None) == (name == "tokenizer"), name
    assert template("chatml") == Template("chatml", "<|im_end|>", ("<|im_start|>",))
    assert template("mistral_v1") == Template("mistral_v1", None, (), unlike=("mistral3", "tekken"))
    assert set(ends()) >= {"<|im_end|>", "<|eot_id|>", "<end_of_turn>", "<|end|>"}


def test_facts_of_models_and_of_tokenizers_agree() -> None:
    rows: Any = plain(read_text(Source("models.yaml", _file())))
    for name, row in rows["models"].items():
        known, like = known_tokenizer(name, folders=False), row
        while "template" not in like and "like" in like:
            like = rows["models"][like["like"]]
        if "template" in like:
            assert known is not None, name
            assert known.template == like["template"], name


@pytest.mark.parametrize(
    ("name", "eos", "instruct", "own"),
    [
        ("meta-llama/Meta-Llama-3-8B", "<|end_of_text|>", False, "none"),
        ("meta-llama/Llama-3.2-1B-Instruct", "<|eot_id|>", True, "llama3"),
        ("Qwen/Qwen2.5-Coder-7B", "<|endoftext|>", False, "chatml"),
        ("Qwen/Qwen2.5-Coder-7B-Instruct", "<|im_end|>", True, "chatml"),
        ("Qwen/Qwen3-4B-Instruct-2507", "<|im_end|>", True, "qwen3"),
        ("Qwen/Qwen3-4B-Base", "<|endoftext|>", False, "qwen3"),
        ("google/gemma-2-2b-it", "<eos>", True, "gemma"),
        ("unsloth/gemma-2-9b-bnb-4bit", "<eos>", False, "none"),
        ("NousResearch/Meta-Llama-3-8B", "<|end_of_text|>", False, "none"),
        ("microsoft/Phi-3.5-mini-instruct", "<|endoftext|>", True, "phi_3"),
        ("gpt2", "<|endoftext|>", False, "none"),
    ],
)
def test_tokenizers_are_known_by_name(name: str, eos: str, instruct: bool, own: str) -> None:
    known = known_tokenizer(name, folders=False)
    assert known is not None
    assert (known.eos, known.instruct, known.template) == (eos, instruct, own)


@pytest.mark.parametrize("name", ["my-lab/llama-3-8b", "unsloth/something-else", "meta-llama/Other", "o/gpt2-x"])
def test_other_names_are_not_known(name: str) -> None:
    assert known_tokenizer(name, folders=False) is None


def test_a_folder_says_what_its_tokenizer_has(tmp_path: Path) -> None:
    (tmp_path / "tokenizer_config.json").write_text(
        json.dumps({"eos_token": {"content": "</s>"}, "chat_template": "x"})
    )
    (tmp_path / "tokenizer.json").write_text(json.dumps({"added_tokens": [{"id": 1, "content": "</s>"}]}))
    known = known_tokenizer(str(tmp_path))
    assert known is not None
    assert (known.template, known.tokens, known.eos, known.instruct) == ("own", ("</s>",), "</s>", False)
    assert known_tokenizer(str(tmp_path), folders=False) is None


@pytest.mark.parametrize(
    ("base", "laid", "end", "new"),
    [
        ("meta-llama/Meta-Llama-3-8B", "llama3", "<|eot_id|>", None),
        ("meta-llama/Meta-Llama-3-8B-Instruct", "llama3", None, None),
        ("meta-llama/Meta-Llama-3-8B-Instruct", None, None, None),
        ("Qwen/Qwen2.5-7B", None, "<|im_end|>", None),
        ("Qwen/Qwen2.5-7B", "chatml", "<|im_end|>", None),
        ("Qwen/Qwen2.5-7B-Instruct", "qwen_25", None, None),
        ("google/gemma-2-9b-it", None, "<end_of_turn>", None),
        ("google/gemma-2-9b", "gemma", "<end_of_turn>", None),
        ("mistralai/Mistral-7B-v0.3", "mistral_v2v3", None, None),
        ("mistralai/Mistral-7B-v0.3", "chatml", "<|im_end|>", ["<|im_start|>"]),
        ("my-lab/my-model", "chatml", "<|im_end|>", None),
        ("my-lab/my-model", "mistral_v1", None, None),
        ("my-lab/my-model", None, None, None),
    ],
)
@pytest.mark.parametrize("adapted", [False, True])
def test_axolotl_trains_the_end_of_a_turn(
    base: str, laid: str | None, end: str | None, new: list[str] | None, adapted: bool
) -> None:
    more = "adapter: {rank: 8, also_train: [embed_tokens, lm_head]}\n" if adapted else ""
    values = emitted(compiled(base, laid, more=more), "axolotl.yaml")
    assert values.get("eot_tokens") == ([end] if end else None)
    assert values.get("special_tokens") == ({"eos_token": end} if end else None)
    assert values.get("tokens") == new


def test_what_the_recipe_says_of_the_eos_token_stays() -> None:
    values = emitted(
        compiled("my-lab/m", "chatml", model=', special_tokens: {eos: "</s>", pad: "<p>"}'), "axolotl.yaml"
    )
    assert values["special_tokens"] == {"eos_token": "</s>", "pad_token": "<p>"}
    assert values["eot_tokens"] == ["<|im_end|>"]
    values = emitted(compiled("my-lab/m", "chatml", model=', special_tokens: {eos: "<|im_end|>"}'), "axolotl.yaml")
    assert values["special_tokens"] == {"eos_token": "<|im_end|>"}
    assert "eot_tokens" not in values


@pytest.mark.parametrize("format", ["text", "completion"])
def test_rows_without_turns_change_no_token(format: str) -> None:
    values = emitted(compiled("meta-llama/Meta-Llama-3-8B", format=format), "axolotl.yaml")
    assert not {"special_tokens", "eot_tokens", "tokens"} & set(values)


@pytest.mark.parametrize("trainer", ["trl", "unsloth"])
def test_a_script_adds_tokens_and_fits_the_model(trainer: str) -> None:
    found = compiled("mistralai/Mistral-7B-v0.3", "chatml", trainer=trainer)
    values = emitted(found, "settings.json")
    assert values["special_tokens"] == {"eos": "<|im_end|>"}
    assert values["new_tokens"] == ["<|im_start|>", "<|im_end|>"]
    script = found.files["train/train.py"]
    assert "rows.fit_embeddings(model, tokenizer)" in script
    assert script.index("load_tokenizer") < script.index("fit_embeddings")
    plainly = compiled("meta-llama/Meta-Llama-3-8B-Instruct", trainer=trainer).files["train/train.py"]
    assert "fit_embeddings" not in plainly


def test_llamafactory_adds_tokens() -> None:
    values = emitted(compiled("mistralai/Mistral-7B-v0.3", "chatml", trainer="llamafactory"), "llamafactory.yaml")
    assert (values["add_special_tokens"], values["resize_vocab"]) == ("<|im_start|>,<|im_end|>", True)
    values = emitted(compiled("Qwen/Qwen2.5-7B", "chatml", trainer="llamafactory"), "llamafactory.yaml")
    assert not {"add_special_tokens", "resize_vocab"} & set(values)
    quantised = compiled(
        "mistralai/Mistral-7B-v0.3",
        "chatml",
        trainer="llamafactory",
        model=", load_in: nf4",
        more="adapter: {rank: 8}\n",
    )
    assert "cannot add <|im_start|> to quantised weights" in str(quantised.findings)


@pytest.mark.parametrize("trainer", ["llamafactory", "openrlhf"])
def test_what_keeps_another_eos_token_is_told(trainer: str) -> None:
    def told(base: str, laid: str | None = None) -> bool:
        more = "parallel: {strategy: zero2}\n" if trainer == "openrlhf" else ""
        found = compiled(base, laid, trainer=trainer, more=more)
        return any("generation does not stop at <|im_end|>" in one.message for one in found.findings)

    assert told("Qwen/Qwen2.5-7B")
    assert not told("Qwen/Qwen2.5-7B-Instruct")
    assert trainer == "openrlhf" or not told("Qwen/Qwen2.5-7B", "chatml")


STAGES = """recipe: 1
name: small
model: {base: meta-llama/Meta-Llama-3-8B}
hardware: {gpu: h200-141gb}
train: {micro_batch_size: 1}
stages:
  - name: pretrain
    data: {train: [{path: texts.jsonl, format: text}], packing: true}
    train: {method: pretrain, learning_rate: 1e-5}
  - name: sft
    model: {chat_template: llama3}
    data: {train: [{path: rows.jsonl, format: chat}]}
    train: {learning_rate: 1e-5}
  - name: dpo
    data: {train: [{path: pairs.jsonl, format: preference}]}
    train: {method: dpo, learning_rate: 1e-6}
"""


def test_a_later_stage_begins_with_the_tokens_that_the_one_before_left() -> None:
    found = compile_tree(read_text(Source("recipe.yaml", STAGES)))
    assert [one for one in found.findings if one.severity == "error"] == []
    said = {
        name: plain(read_text(Source(name, found.files[f"{name}/axolotl.yaml"]))) for name in ("pretrain", "sft", "dpo")
    }
    tokens = {name: "eot_tokens" in str(values) for name, values in said.items()}
    assert tokens == {"pretrain": False, "sft": True, "dpo": False}


def test_an_adapter_is_evaluated_with_the_tokenizer_that_its_training_saved() -> None:
    more = "adapter: {rank: 8, also_train: [embed_tokens, lm_head]}\nevaluate: {tasks: [gsm8k]}\n"
    found = compiled("meta-llama/Meta-Llama-3-8B", "llama3", more=more)
    values: Any = plain(read_text(Source("lm_eval.yaml", found.files["evaluate-tuned/lm_eval.yaml"])))
    assert values["model_args"]["tokenizer"] == values["model_args"]["peft"]


INSTRUCT, BASE = "meta-llama/Llama-3.1-8B-Instruct", "meta-llama/Llama-3.1-8B"
GRPO = {
    "train": ", method: grpo, batch_size: 8",
    "more": "rewards: [{type: length, max_words: 9}]\nrollout: {completions: 2}\n",
}


@pytest.mark.parametrize(
    ("base", "laid", "turns"),
    [(INSTRUCT, None, True), (INSTRUCT, "llama3", True), (BASE, None, False), (BASE, "llama3", True),
     ("my-lab/m", None, False), ("my-lab/m", "tokenizer", True), ("Qwen/Qwen2.5-7B", None, False)],
)  # fmt: skip
@pytest.mark.parametrize("format", ["instruction", "prompt"])
def test_instructions_and_prompts_are_turns_where_the_model_talks(
    base: str, laid: str | None, turns: bool, format: str
) -> None:
    found = compiled(base, laid, trainer="trl", format=format, **(GRPO if format == "prompt" else {}))
    assert found.resolved is not None
    [stage] = found.resolved.plan.of_kind("train")
    assert [source.turns for source in stage.body.data.train] == [turns]
    if "train/settings.json" in found.files:
        assert json.loads(found.files["train/settings.json"])["train"][0]["turns"] is turns
    else:
        assert not turns


def test_axolotl_reads_instructions_as_they_are_meant() -> None:
    def kind(base: str, laid: str | None = None, form: str = "instruction") -> tuple[str, str]:
        found = compiled(base, laid, format=form)
        [row] = emitted(found, "axolotl.yaml")["datasets"]
        module = row["type"].partition(".")[0]
        return row["type"], found.files.get(f"train/{module}/rows.py", "")

    assert kind(BASE) == ("alpaca", "")
    name, text = kind(INSTRUCT)
    assert (name.startswith("rows_"), name.endswith(".rows"), "chat_template" in text) == (True, True, True)
    name, text = kind(BASE, form="instruction, system: \"Say 'why'.\"")
    assert "SYSTEM = \"Say 'why'.\"" in text
    assert "### Instruction:" in text
    assert "chat_template" not in text
    compile(text, "rows.py", "exec")


def test_axolotl_asks_with_turns() -> None:
    found = compiled(INSTRUCT, format="prompt, columns: {answer: answer}, system: Be brief.", **GRPO)
    values = emitted(found, "axolotl.yaml")
    [name] = {row["type"] for row in values["datasets"]}
    assert values["chat_template"] == "tokenizer_default"
    found_rows: dict[str, Any] = {}
    exec(found.files[f"train/{name.partition('.')[0]}.py"], found_rows)
    take = found_rows["default"]({})
    system, asked = {"role": "system", "content": "Be brief."}, {"role": "user", "content": "1 + 1?"}
    assert take({"prompt": "1 + 1?", "answer": "2"}) == {"prompt": [system, asked], "answer": "2"}
    assert take({"prompt": [asked], "answer": "2"})["prompt"] == [system, asked]
    other = {"role": "system", "content": "Be long."}
    assert take({"prompt": [other, asked], "answer": "2"})["prompt"] == [other, asked]
    plain_text = emitted(compiled(BASE, format="prompt", **GRPO), "axolotl.yaml")
    assert "chat_template" not in plain_text
    assert all("type" not in row for row in plain_text["datasets"])


def test_openrlhf_asks_with_turns_where_the_model_talks() -> None:
    def script(base: str, form: str = "prompt") -> Compiled:
        more = GRPO["more"].replace("completions: 2", "completions: 2, engine: vllm") + "parallel: {strategy: zero2}\n"
        return compiled(base, trainer="openrlhf", format=form, train=GRPO["train"], more=more)

    assert "--data.apply_chat_template" in script("Qwen/Qwen2.5-7B-Instruct").files["train/openrlhf.sh"]
    assert "--data.apply_chat_template" not in script("meta-llama/Llama-3.1-8B").files["train/openrlhf.sh"]
    assert "no system prompt" in str(script("Qwen/Qwen2.5-7B-Instruct", "prompt, system: Be brief.").findings)


@pytest.mark.parametrize(
    ("base", "said"),
    [
        (INSTRUCT, None),
        (BASE, "alpaca"),
        ("mistralai/Mistral-7B-Instruct-v0.3", "mistral"),
        ("google/gemma-2-9b-it", "gemma"),
        ("my-lab/m", "alpaca"),
    ],
)
def test_llamafactory_chooses_the_template_that_is_meant(base: str, said: str | None) -> None:
    values = emitted(compiled(base, trainer="llamafactory", format="instruction"), "llamafactory.yaml")
    assert values.get("template") == said
    values = emitted(
        compiled(base, trainer="llamafactory", format="instruction, system: Be brief."), "llamafactory.yaml"
    )
    assert values["default_system"] == "Be brief."


def test_llamafactory_has_one_system_prompt_and_one_template() -> None:
    two = "instruction, system: A}, {path: b.jsonl, format: instruction, system: B"
    assert "one system prompt for all data" in str(compiled(INSTRUCT, trainer="llamafactory", format=two).findings)
    mixed = "instruction}, {path: b.jsonl, format: completion"
    assert "those of format completion too" in str(compiled(INSTRUCT, trainer="llamafactory", format=mixed).findings)
    same = "instruction, system: A}, {path: b.jsonl, format: instruction, system: A"
    assert "T001" not in str(compiled(INSTRUCT, trainer="llamafactory", format=same).findings)
