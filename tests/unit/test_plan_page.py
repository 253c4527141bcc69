"""`PLAN.md` tells a reviewer what is decided on, with numbers that can be checked by hand."""

from pathlib import Path

import pytest

from recipec.facts.models import adapter_weights, known_model, licence_of
from recipec.pipeline import compile_tree
from recipec.source import Source
from recipec.yaml_reader import read_text

ROW = '{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}\n'
RECIPE = """recipe: 1
name: page
model: {base: meta-llama/Llama-3.1-8B-Instruct, max_length: 1024}
adapter: {rank: 16}
data: {train: [{path: chat.jsonl, format: chat}], holdout: 10%}
train: {learning_rate: 2e-4, epochs: 3, batch_size: 32, micro_batch_size: 2, warmup: 10%}
hardware: {gpu: a100-80gb, per_node: 2}
evaluate: {tasks: [gsm8k], limit: 50, few_shot: 3}
track: {wandb: {project: page}}
"""


@pytest.fixture(autouse=True)
def _beside_its_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def page(text: str = RECIPE) -> str:
    result = compile_tree(read_text(Source("page.yaml", text)))
    assert result.files, result.findings
    return result.files["PLAN.md"]


def rows(text: str) -> dict[str, str]:
    """Return the table of the first training, by its first column."""
    table = text.partition("|---|---|\n")[2].partition("\n\n")[0]
    found: dict[str, str] = {}
    for line in table.splitlines():
        word, _, said = line.strip("| ").partition(" | ")
        found[word] = said
    return found


def test_what_is_decided_on_comes_first() -> None:
    headings = [line for line in page().splitlines() if line.startswith("## ")]
    assert headings == [
        "## Stages",
        "## Training",
        "## Before it starts",
        "## Start",
        "## What the recipe leaves open",
        "## Files",
    ]


def test_the_numbers_are_those_of_the_rows(tmp_path: Path) -> None:
    (tmp_path / "chat.jsonl").write_text("".join(ROW.replace('"a"', f'"{n}"') for n in range(400)))
    told = rows(page())
    assert told["data"] == "`chat.jsonl`: chat, 400 rows"
    assert told["validation"] == "10% of the rows, held out; every epoch"
    # 400 rows, less 40, are 12 steps of 32 in each of 3 epochs, of 32 × 1,024 tokens
    assert (
        told["length"]
        == "3 epochs of 360 rows: about 36 steps, at most 1,179,648 tokens, sequences of up to 1,024 tokens"
    )
    assert told["batch"].startswith(
        "32 sequences per optimiser step = 2 micro batch × 8 gradient accumulation × 2 data"
    )
    assert told["optimiser"].startswith("adamw, learning rate 0.0002, cosine, warmup 10% of the steps")


def test_without_the_rows_it_says_so() -> None:
    told = rows(page())
    assert told["data"] == "`chat.jsonl`: chat, not at hand when this was compiled"
    assert "steps follows from rows that were not at hand" in told["length"]
    steps = rows(page(RECIPE.replace("epochs: 3", "steps: 100")))["length"]
    assert steps == "100 steps: at most 3,276,800 tokens, sequences of up to 1,024 tokens"


def test_an_adapter_and_its_size() -> None:
    told = rows(page())
    # rank 16 × (inputs + outputs): q and o 4096 + 4096, k and v 4096 + 1024, three of the MLP 4096 + 14336; 32 layers
    weights = 16 * 32 * (2 * 8192 + 2 * 5120 + 3 * 18432)
    assert weights == 41_943_040
    assert f": {weights:,} weights, 0.52% of 8,030,261,248" in told["trains"]
    assert (
        told["saves"]
        == "`runs/page/train`: the adapter of about 168 MB; a checkpoint every epoch, all kept, each about 503 MB"
    )


@pytest.mark.parametrize(
    ("names", "each"), [(("q_proj",), 8192), (("k_proj", "v_proj"), 2 * 5120), (("down_proj",), 18432)]
)
def test_the_weights_of_layers(names: tuple[str, ...], each: int) -> None:
    known = known_model("meta-llama/Llama-3.1-8B")
    assert known is not None
    assert adapter_weights(known, 4, names) == 4 * 32 * each
    assert adapter_weights(known, 4, ("no_such",)) is None
    assert adapter_weights(known._replace(layers=None), 4) is None


def test_what_must_be_there_before_it_starts() -> None:
    text = page()
    assert "- These must be there, below the folder that it is started in: `chat.jsonl`." in text
    assert (
        "gated: `meta-llama/Llama-3.1-8B-Instruct`. Accept the Llama licence at https://huggingface.co/meta-llama/"
        in text
    )
    assert "WANDB_API_KEY" in text
    free = page(
        RECIPE.replace("meta-llama/Llama-3.1-8B-Instruct", "Qwen/Qwen2.5-7B-Instruct").replace(
            "path: chat.jsonl", "hub: lab/chat"
        )
    )
    assert "- From the Hugging Face hub: `Qwen/Qwen2.5-7B-Instruct`, `lab/chat`." in free
    assert "gated" not in free
    assert "These must be there" not in free


@pytest.mark.parametrize(
    ("model", "gated"),
    [
        ("meta-llama/Llama-3.2-1B", True),
        ("google/gemma-2-2b-it", True),
        ("Qwen/Qwen3-8B", False),
        ("unsloth/gemma-2-2b-it", False),
    ],
)
def test_which_models_need_a_licence(model: str, gated: bool) -> None:
    assert (licence_of(model) is not None) is gated


def test_where_each_stage_runs() -> None:
    assert "- `train`, on 2 × a100-80gb: " in page()
    assert "3 examples each, the first 50 rows only; scores go to `runs/page/evaluate-base`" in page()
    several = page(RECIPE.replace("per_node: 2", "per_node: 2, nodes: 4"))
    assert "for 4 nodes of 2 × a100-80gb" in several
    assert "- `train`, on all 4 nodes, 2 × a100-80gb each: " in several
    assert "- `evaluate-base`, on node 0, 2 × a100-80gb: " in several


def test_what_nothing_emitted_depends_on_is_not_told() -> None:
    grpo = """recipe: 1
name: page
trainer: trl
model: {base: Qwen/Qwen2.5-1.5B-Instruct}
data: {train: [{path: prompts.jsonl, format: prompt, columns: {answer: answer}}]}
train: {method: grpo, learning_rate: 1e-6, batch_size: 8, micro_batch_size: 8}
rewards: [{type: exact}]
hardware: {gpu: h100-80gb}
"""
    assert "critic" not in page(grpo)
    assert "train.rollout.scale_rewards" in page(grpo)
    assert rows(page(grpo))["method"].endswith("reward exact × 1")


def test_a_text_of_the_recipe_stays_a_cell() -> None:
    told = page(RECIPE.replace("chat.jsonl", "a|b.jsonl"))
    assert "`a|b.jsonl`" not in told.partition("## Training")[2].partition("## Before")[0]
