"""A search: what it tries next by what was measured, what it refuses, how it goes on after a stop, and what it leaves on disk."""

from __future__ import annotations

import importlib.util
import json
import math
import sys
from pathlib import Path
from typing import Any

import pytest
from fake_build import with_scripts

from recipec import cli, sweep_command
from recipec.compose import compose
from recipec.diagnostics import RecipeError
from recipec.pipeline import Compiled
from recipec.pipeline import of_sweep as really_of_sweep
from recipec.search import Tried, proposal
from recipec.source import plain
from recipec.sweep import Search, sweep_of
from recipec.sweeps import read_list

RECIPE = """\
recipe: 1
name: searched
trainer: trl
model: {base: Qwen/Qwen2.5-0.5B-Instruct, max_length: 1024}
adapter: {type: lora, rank: 16}
hardware: {gpu: a100-80gb}
data: {train: [{hub: org/chat, format: chat}]}
train: {method: sft, epochs: 1, batch_size: 16}
evaluate: {tasks: [gsm8k], models: [tuned]}
sweep:
  search:
    trials: 14
    startup: 4
    seed: 2
    over: {train.learning_rate: {log_uniform: [1e-6, 1e-2]}}
  best: gsm8k
"""
AIM = 1e-4  # the learning rate that scores best


def search_of(over: str, trials: int = 30) -> Search:
    text = RECIPE.replace("{train.learning_rate: {log_uniform: [1e-6, 1e-2]}}", over).replace("14", str(trials))
    found = sweep_of(compose("recipe.yaml", text=text).tree)
    assert found is not None
    assert found.search is not None
    return found.search


def chosen(search: Search, tried: list[Tried], *, least: bool = False) -> dict[str, Any] | None:
    found = proposal(search, tried, least=least)
    return None if found is None else {one.path: plain(one.value) for one in found}


def carried_out(search: Search, measure: Any, *, least: bool, count: int = 30) -> list[Tried]:
    tried: list[Tried] = []
    for _ in range(count):
        values = chosen(search, tried, least=least)
        assert values is not None
        tried.append(Tried(values, "measured", measure(values)))
    return tried


@pytest.mark.parametrize("least", [True, False])
def test_it_comes_close_to_what_is_best_in_either_direction(least: bool) -> None:
    search = search_of("{train.learning_rate: {log_uniform: [1e-6, 1e-2]}}")

    def far(values: dict[str, Any]) -> float:
        return abs(math.log10(values["train.learning_rate"] / AIM)) * (1 if least else -1)

    tried = carried_out(search, far, least=least)
    late = [abs(far(one.values)) for one in tried[15:]]  # type: ignore[arg-type]
    assert sum(late) / len(late) < 0.8  # at random, it is 1 on average
    assert min(late) < 0.1
    assert all(1e-6 <= one.values["train.learning_rate"] <= 1e-2 for one in tried)  # type: ignore[operator]


def test_choices_and_whole_numbers_are_what_the_recipe_says() -> None:
    search = search_of("{adapter.rank: {integer: [3, 5]}, train.scheduler: {choice: [cosine, linear]}}")
    tried: list[Tried] = []
    while (values := chosen(search, tried)) is not None:
        tried.append(Tried(values, "measured", float(values["adapter.rank"])))
    found = sorted((one.values["adapter.rank"], one.values["train.scheduler"]) for one in tried)
    assert found == [(rank, word) for rank in (3, 4, 5) for word in ("cosine", "linear")]  # each once, and then no more
    assert all(type(rank) is int for rank, _ in found)


def test_the_next_trial_depends_on_nothing_but_those_before_it() -> None:
    search = search_of("{train.learning_rate: {log_uniform: [1e-6, 1e-2]}}")
    tried = carried_out(search, lambda values: -values["train.learning_rate"], least=False, count=8)
    assert chosen(search, tried) == chosen(search, list(tried))
    assert chosen(search, tried[:5]) == tried[5].values
    other = [*tried[:-1], Tried(tried[-1].values, "measured", 1.0)]
    assert chosen(search, other) != chosen(search, tried)


def test_trials_at_once_are_unlike_and_what_the_rules_refuse_is_kept_away_from() -> None:
    search = search_of("{train.learning_rate: {log_uniform: [1e-6, 1e-2]}}")
    tried = carried_out(search, lambda values: -abs(math.log10(values["train.learning_rate"] / AIM)), least=False, count=12)  # fmt: skip
    first = chosen(search, tried)
    assert first is not None
    assert chosen(search, [*tried, Tried(first, "running")]) != first
    good = [Tried({"train.learning_rate": 10.0**-n}, "measured", 1.0) for n in (5, 6)]
    bad = [Tried({"train.learning_rate": 9 * 10.0**-n}, "refused") for n in (3, 4)] * 4
    found = [chosen(search_of("{train.learning_rate: {log_uniform: [1e-6, 1e-2]}}"), [*good, *bad, *[Tried({"train.learning_rate": 1e-6}, "failed")] * n]) for n in range(12)]  # fmt: skip
    assert sum(one is not None and one["train.learning_rate"] < 1e-4 for one in found) >= 9


def test_a_measure_that_is_not_a_number_counts_as_bad_and_not_as_an_error() -> None:
    search = search_of("{train.learning_rate: {log_uniform: [1e-6, 1e-2]}}")
    tried = [Tried({"train.learning_rate": 1e-3}, "measured", math.nan), Tried({"train.learning_rate": 1e-5}, "measured", 0.5)]  # fmt: skip
    assert chosen(search, tried) is not None


WRONG = [
    ("  best: gsm8k\n", "", "does not say what it is to make better"),
    ("  best: gsm8k\n", "  best: gsm8k\n  grid: {seed: [1, 2]}\n", "grid and search are both given"),
    ("  best: gsm8k\n", "  best: gsm8k\n  list: [{seed: 1}]\n", "differs from it in seed, train.learning_rate"),
    ("  best: gsm8k\n", "  best: gsm8k\n  list: [{train.learning_rate: 1}]\n", "does not reach this value"),
    ("[1e-6, 1e-2]", "[1e-2, 1e-6]", "the least must be below the greatest"),
    ("trials: 14", "trials: 1001", "at most 1000"),
]


@pytest.mark.parametrize(("before", "after", "message"), WRONG, ids=[one[2] for one in WRONG])
def test_what_is_wrong_with_it_is_said_at_its_place(before: str, after: str, message: str) -> None:
    assert before in RECIPE
    with pytest.raises(RecipeError) as caught:
        sweep_of(compose("recipe.yaml", text=RECIPE.replace(before, after)).tree)
    [finding] = caught.value.findings
    assert message in finding.message or message in str(finding.help)
    assert finding.span is not None


def script(compiled: Compiled, name: str, kind: str, output: str) -> str:
    """Return a script that leaves what a stage of its kind leaves; the closer the learning rate to the aim, the better the score."""
    assert compiled.variant is not None
    rate = float(str(compiled.variant.values["train.learning_rate"]))
    score = 1 - abs(math.log10(rate / AIM)) / 4
    lines = [
        "set -eu",
        f"echo {output} >> ran.txt",
        f"[ ! -e fail-{name} ]",
        f"mkdir -p {output}",
        f"echo {rate} > {output}/model",
    ]
    if kind == "train":
        say = '\'{{"event": "{}", "time": 1, "step": {}, "total": 2, "loss": {}}}\' >> "$RECIPE_EVENTS"'
        lines += [
            "echo " + say.format(event, step, 2 - score) for event, step in (("begin", 0), ("log", 2), ("end", 2))
        ]
    else:
        found = {"results": {"gsm8k": {"exact_match,none": score}}, "higher_is_better": {"gsm8k": {"exact_match": True}}}  # fmt: skip
        lines.append(f"echo '{json.dumps(found)}' > {output}/results_2026.json")
    return "\n".join(lines) + "\n"


def scripted(compiled: Compiled) -> Compiled:
    return with_scripts(compiled, lambda stage: script(compiled, stage.name, stage.kind, stage.output))


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sweep_command, "of_sweep", lambda *args: map(scripted, really_of_sweep(*args)))
    Path("recipe.yaml").write_text(RECIPE)
    return tmp_path


def rates(folder: str) -> list[float]:
    listed = read_list(Path(folder))
    assert listed is not None
    return [float(one.values["train.learning_rate"]) for one in listed.variants]


def test_a_compile_writes_those_that_it_begins_with(here: Path, capsys: Any) -> None:
    assert cli.main(["compile", "recipe.yaml"]) == 0
    assert len(rates("build/searched")) == 4
    page = Path("build/searched/SWEEP.md").read_text()
    assert "the first of at most 14 trials" in page


def test_a_run_goes_on_by_what_was_measured_and_continues_where_it_was(here: Path, capsys: Any) -> None:
    Path("recipe.yaml").write_text(RECIPE.replace("trials: 14", "trials: 9"))
    assert cli.main(["run", "recipe.yaml"]) == 0
    nine = rates("runs/searched")
    assert len(nine) == 9
    assert rates("build/searched") == nine
    assert len(Path("ran.txt").read_text().split()) == 18
    said = capsys.readouterr()
    assert "* best gsm8k/exact_match" in said.out
    best = min(nine, key=lambda rate: abs(math.log10(rate / AIM)))
    star = next(line for line in said.out.splitlines() if line.startswith("* lr="))
    assert float(star.split()[0 if "=" in star.split()[0] else 1].removeprefix("lr=")) == best
    assert cli.main(["run", "recipe.yaml"]) == 0  # there is nothing left to do
    assert len(Path("ran.txt").read_text().split()) == 18
    assert cli.main(["compile", "recipe.yaml"]) == 0
    assert rates("build/searched") == nine  # none is dropped
    Path("recipe.yaml").write_text(RECIPE)
    assert cli.main(["run", "recipe.yaml"]) == 0
    assert rates("runs/searched")[:9] == nine
    assert len(rates("runs/searched")) == 14
    assert len(Path("ran.txt").read_text().split()) == 28
    capsys.readouterr()
    assert cli.main(["status", "searched"]) == 0
    assert "14 variants of at most 14 trials: 14 complete" in capsys.readouterr().out


def test_another_recipe_begins_its_search_anew(here: Path) -> None:
    assert cli.main(["run", "recipe.yaml"]) == 0
    before = rates("runs/searched")
    Path("recipe.yaml").write_text(RECIPE.replace("seed: 2", "seed: 3"))
    assert cli.main(["compile", "recipe.yaml"]) == 0
    assert len(rates("build/searched")) == 4
    assert not set(rates("build/searched")) & set(before)


def test_the_same_search_comes_to_the_same_whether_or_not_it_was_stopped(here: Path) -> None:
    for trials in (6, 8, 10):
        Path("recipe.yaml").write_text(RECIPE.replace("trials: 14", f"trials: {trials}"))
        assert cli.main(["run", "recipe.yaml"]) == 0
    stopped = rates("runs/searched")
    Path("recipe.yaml").write_text(RECIPE.replace("trials: 14", "trials: 10").replace("name: searched", "name: other"))
    assert cli.main(["run", "recipe.yaml"]) == 0
    assert rates("runs/other") == stopped


def test_two_at_once_come_to_all_trials(here: Path) -> None:
    Path("recipe.yaml").write_text(
        RECIPE.replace("gpu: a100-80gb", "gpu: none").replace("evaluate: {", "evaluate: {batch_size: 8, ")
    )
    assert cli.main(["run", "recipe.yaml", "--jobs", "2"]) == 0
    assert len(set(rates("runs/searched"))) == 14


def test_trials_that_fail_are_named_and_do_not_stop_it(here: Path, capsys: Any) -> None:
    Path("fail-train").touch()
    Path("recipe.yaml").write_text(RECIPE.replace("trials: 14", "trials: 6"))
    assert cli.main(["run", "recipe.yaml"]) == 3
    assert "6 variants of 6 failed" in capsys.readouterr().err
    Path("fail-train").unlink()
    assert cli.main(["run", "recipe.yaml"]) == 0


def test_a_search_by_what_nothing_measures_is_refused_before_anything_runs(here: Path, capsys: Any) -> None:
    Path("recipe.yaml").write_text(RECIPE.replace("best: gsm8k", "best: kmmlu"))
    assert cli.main(["check", "recipe.yaml"]) == 1
    assert "S067" in capsys.readouterr().err
    for best, more, code in (
        ("loss", "", 0),
        ("eval_loss", "", 1),
        ("eval_loss", "holdout: 10%, ", 0),
        ("gsm8k/x", "", 1),
    ):
        text = (
            RECIPE.replace("best: gsm8k", f"best: {best}")
            .replace("evaluate: {", "# {")
            .replace("data: {", f"data: {{{more}")
        )
        Path("recipe.yaml").write_text(text)
        assert cli.main(["check", "recipe.yaml"]) == code


def test_without_optuna_it_is_said_how_to_install_it_before_anything_runs(
    here: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert importlib.util.find_spec("optuna") is not None
    monkeypatch.setitem(sys.modules, "optuna", None)
    assert cli.main(["compile", "recipe.yaml"]) == 0
    assert cli.main(["run", "recipe.yaml"]) == 1
    assert "pip install 'recipec[search]'" in capsys.readouterr().err
    assert not Path("ran.txt").exists()
