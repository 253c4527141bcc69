"""The variants of a sweep: which there are, what they are called, and what they lay over the recipe."""

from pathlib import Path

import pytest

from recipec.compose import compose
from recipec.diagnostics import RecipeError, errors
from recipec.pipeline import Compiled, compile_file, of_sweep
from recipec.source import plain
from recipec.sweep import Sweep, number_name, sweep_of

RECIPE = """\
recipe: 1
name: swept
trainer: trl
model: {base: Qwen/Qwen2.5-0.5B-Instruct, max_length: 1024}
adapter: {type: lora, rank: 16}
hardware: {gpu: a100-80gb}
stages:
  - name: sft
    data: {train: [{hub: org/chat, format: chat}]}
    train: {method: sft, epochs: 1, batch_size: 16, learning_rate: 1e-4}
  - name: dpo
    parent_adapter: merge
    data: {train: [{hub: org/pairs, format: preference}]}
    train: {method: dpo, epochs: 1, batch_size: 16, learning_rate: 5e-6}
"""


def swept(said: str) -> Sweep:
    found = sweep_of(compose("recipe.yaml", text=f"{RECIPE}sweep: {said}\n").tree)
    assert found is not None
    return found


def names(said: str) -> list[str]:
    return [one.name for one in swept(said).variants()]


def compiled(said: str, *chosen: str) -> list[Compiled]:
    composed = compose("recipe.yaml", text=f"{RECIPE}sweep: {said}\n")
    sweep = sweep_of(composed.tree)
    assert sweep is not None
    return list(of_sweep("recipe.yaml", composed, sweep, chosen))


def test_a_recipe_without_a_sweep_has_none() -> None:
    assert sweep_of(compose("recipe.yaml", text=RECIPE).tree) is None
    assert sweep_of(compose("recipe.yaml", text=RECIPE + "sweep: null\n").tree) is None


def test_a_grid_is_every_combination() -> None:
    found = names("{grid: {train.learning_rate: [1e-5, 2.50e-5], adapter.rank: [8, 16]}}")
    assert found == ["lr=1e-5_rank=8", "lr=1e-5_rank=16", "lr=2.5e-5_rank=8", "lr=2.5e-5_rank=16"]


def test_equal_variants_count_once() -> None:
    assert names("{grid: {seed: [1, 2, 1]}, list: [{seed: 2}, {seed: 3}]}") == ["seed=1", "seed=2", "seed=3"]


def test_names_tell_the_same_word_of_several_stages_apart() -> None:
    found = names("{grid: {stages.sft.adapter.rank: [8], stages.dpo.adapter.rank: [4], train.beta: [0.1]}}")
    assert found == ["sft.adapter.rank=8_dpo.adapter.rank=4_beta=0.1"]


def test_a_name_depends_on_nothing_but_its_own_values() -> None:
    few, more = "{grid: {seed: [2], model.base: [org/a]}}", "{grid: {seed: [1, 2, 3], model.base: [org/b, org/a]}}"
    assert set(names(few)) <= set(names(more))


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ("true", "x=true"),
        ("null", "x=none"),
        ("org/model-1.5", "x=org--model-1.5"),
        ("[q_proj, v]", None),
        ("'a b'", None),
        ("../..", None),
        ("{a: 1}", None),
        ("'" + "long" * 80 + "'", None),
    ],
)
def test_a_name_is_safe_as_a_folder(value: str, name: str | None) -> None:
    (found,) = names(f"{{list: [{{x: {value}}}]}}")
    assert name in (None, found)
    assert Path(found).name == found
    assert not set(found) & set(" ,/\\:'\"\n*?<>|$")
    assert len(found) < 130


def test_values_that_look_alike_have_names_of_their_own() -> None:
    found = names("{grid: {x: [1, '1', 'a b', 'a c', A, a, true, 'true']}}")
    assert len({name.casefold() for name in found}) == 8


@pytest.mark.parametrize(
    ("value", "text"),
    [(1e-5, "1e-5"), (0.0005, "5e-4"), (0.05, "0.05"), (2.0, "2"), (1e20, "1e20"), (2.5e-5, "2.5e-5"), (-0.5, "-0.5")],
)
def test_numbers_are_named_as_people_write_them(value: float, text: str) -> None:
    assert number_name(value) == text


RANDOM = "{{random: {{samples: {}, seed: 7, over: {{train.learning_rate: {{log_uniform: [1e-6, 1e-3]}}, adapter.rank: {{integer: [4, 64]}}, train.beta: {{uniform: [0.0, 0.5]}}, train.scheduler: {{choice: [linear, cosine]}}}}}}}}"


def test_random_values_are_the_same_for_a_seed_and_within_their_ranges() -> None:
    few = [one.values for one in swept(RANDOM.format(20)).variants()]
    many = [one.values for one in swept(RANDOM.format(300)).variants()]
    assert many[:20] == few
    assert len(many) == 300
    for one in many:
        rate, rank, beta = one["train.learning_rate"], one["adapter.rank"], one["train.beta"]
        assert isinstance(rate, float)
        assert 1e-6 <= rate <= 1e-3
        assert float(f"{rate:.3g}") == rate
        assert isinstance(rank, int)
        assert 4 <= rank <= 64
        assert isinstance(beta, float)
        assert 0 <= beta <= 0.5
    rates = [float(str(one["train.learning_rate"])) for one in many]
    for low in (1e-6, 1e-5, 1e-4):  # every order of magnitude has its share
        assert 60 < sum(low <= rate < low * 10 for rate in rates) < 140
    assert {one["train.scheduler"] for one in many} == {"linear", "cosine"}
    assert {4, 64} <= {one["adapter.rank"] for one in many}


def test_a_path_of_a_random_sweep_does_not_change_the_others() -> None:
    one = "{random: {samples: 5, seed: 1, over: {seed: {integer: [1, 1000]}}}}"
    two = "{random: {samples: 5, seed: 1, over: {train.beta: {uniform: [0, 1]}, seed: {integer: [1, 1000]}}}}"
    assert [v.values["seed"] for v in swept(one).variants()] == [v.values["seed"] for v in swept(two).variants()]


def test_a_value_of_a_stage_is_named_by_the_stage() -> None:
    sweep = swept("{grid: {stages.dpo.train.beta: [0.3]}}")
    (variant,) = sweep.variants()
    tree = plain(variant.tree(sweep.base))
    assert tree["stages"][1]["train"]["beta"] == 0.3  # type: ignore[call-overload, index]
    assert "sweep" not in tree  # type: ignore[operator]


def test_null_removes_a_value_and_plus_adds_to_a_list() -> None:
    sweep = swept("{list: [{adapter.rank: null, 'stages.sft.data.train+': [{hub: org/more, format: chat}]}]}")
    (variant,) = sweep.variants()
    tree = plain(variant.tree(sweep.base))
    assert tree["adapter"] == {"type": "lora"}  # type: ignore[call-overload, index]
    assert len(tree["stages"][0]["data"]["train"]) == 2  # type: ignore[call-overload, index]


def test_each_variant_has_a_folder_and_runs_of_its_own() -> None:
    found = compiled("{grid: {stages.dpo.train.beta: [0.1, 0.3]}}")
    assert [one.name for one in found] == ["swept/beta=0.1", "swept/beta=0.3"]
    for one, beta in zip(found, ("0.1", "0.3"), strict=True):
        assert f"beta={beta}," in one.files["dpo/train.py"]
        assert f'output_dir="runs/swept/beta={beta}/dpo"' in one.files["dpo/train.py"]
        assert one.variant is not None
        assert one.variant.values == {"stages.dpo.train.beta": float(beta)}


def test_chosen_variants_alone() -> None:
    said = "{grid: {stages.dpo.train.beta: [0.1, 0.3], seed: [1, 2]}}"
    assert [one.name for one in compiled(said, "*seed=2")] == ["swept/beta=0.1_seed=2", "swept/beta=0.3_seed=2"]
    with pytest.raises(RecipeError) as wrong:
        compiled(said, "beta=0.1_sed=2")
    assert wrong.value.findings[0].suggestion == "beta=0.1_seed=2"


def test_a_variant_that_the_rules_refuse_has_their_errors() -> None:
    found = compiled("{grid: {train.micro_batch_size: [3, 4]}}")
    assert [finding.code for finding in errors(found[0].findings)][:1] == ["P060"]
    assert not errors(found[1].findings)


def test_the_first_variant_that_is_not_refused_stands_for_the_sweep() -> None:
    found = compile_file("recipe.yaml", text=RECIPE + "sweep: {grid: {train.micro_batch_size: [3, 4]}}\n")
    assert found.name == "swept/micro_batch_size=4"
    assert found.files


def test_a_wrong_path_suggests_the_whole_path() -> None:
    found = compile_file("recipe.yaml", text=RECIPE + "sweep: {grid: {adapter.rnk: [3, 4]}}\n")
    assert [(finding.code, finding.suggestion) for finding in found.findings] == [("R001", "adapter.rank")]
