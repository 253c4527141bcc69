"""The report: scores, curve, facts, and a page that stands alone."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from fake_build import compiled

from recipec import manifest
from recipec.diagnostics import RecipeError
from recipec.engine.record import Record
from recipec.manifest import Manifest
from recipec.plan import ScoresOutput
from recipec.report import report_html, report_json, score_rows, score_table, write_report
from recipec.report.curve import Line, smoothed, svg, thinned, ticks
from recipec.report.curves import curves, logged
from recipec.report.facts import facts
from recipec.report.scores import evaluated, read_scores


def results(accuracy: float, perplexity: float) -> dict[str, Any]:
    return {
        "results": {
            "shelf": {"alias": "shelf", "acc,none": accuracy, "acc_stderr,none": 0.02},
            "words": {"perplexity,none": perplexity, "perplexity_stderr,none": "N/A"},
            "sums": {"exact_match,strict": accuracy, "exact_match_stderr,strict": 0.01},
        },
        "higher_is_better": {"shelf": {"acc": True}, "words": {"perplexity": False}},
        "n-samples": {"shelf": {"original": 200, "effective": 200}},
    }


def save(output: Path, model: str, time: str, found: dict[str, Any]) -> None:
    folder = output.with_name(f"{output.name}-{model}") / "runs__demo__x"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"results_2026-11-24T{time}.json").write_text(json.dumps(found))


def with_model(path: str) -> Manifest:
    """Return a plan whose training starts from this model."""
    plan = compiled().plan
    stages = (
        one.replaced(body=one.body.replaced(model=one.body.model.replaced(path=path))) if one.kind == "train" else one
        for one in plan.stages
    )
    return compiled().replaced(plan=plan.replaced(stages=tuple(stages)))


@pytest.fixture
def run_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run as the engine leaves it, with a title and a recipe that would break a page that escapes nothing."""
    monkeypatch.chdir(tmp_path)
    run = tmp_path / "runs" / "demo"
    (run / "events").mkdir(parents=True)
    (run / "plan.json").write_text(manifest.write(with_model("<script>alert(1)</script>")))
    (run / "recipe.yaml").write_text("recipe: 1\nname: </pre><b>\n")
    record = Record(run / "record.jsonl")
    record.add("run-started", pid=1, pid_started="x", packages={"tiny": ["torch==2.13.0", "iniconfig==2.1.0"]})
    record.add("stage-started", stage="train", fingerprint="f", pid=1, pid_started="x")
    record.add("stage-interrupted", stage="train", seconds=10.0, exit_code=0)
    record.add("stage-started", stage="train", fingerprint="f", pid=1, pid_started="x")
    record.add("stage-finished", stage="train", seconds=30.5, exit_code=0)
    record.add("run-finished", exit_code=0)
    rows = [{"event": "begin", "step": 0}] + [{"event": "log", "step": s, "loss": 9.0 - s} for s in (1, 2, 3, 4)]
    rows += [{"event": "begin", "step": 2}, {"event": "log", "step": 3, "loss": 5.5}]
    rows += [{"event": "eval", "step": 3, "loss": 6.0}, {"event": "log", "step": 4, "loss": "nan"}]
    (run / "events" / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows) + '{"torn')
    output = Path("runs/demo/evaluate")
    save(output, "base", "10-00-00", results(0.25, 80.0))
    save(output, "tuned", "09-00-00", results(0.1, 99.0))
    save(output, "tuned", "11-00-00", results(0.75, 20.0))
    return run


def test_scores_are_the_newest_and_know_what_is_better(run_dir: Path) -> None:
    rows = {row.task: row for row in score_rows(run_dir)}
    shelf = rows["shelf"]
    assert (shelf.scores["base"].value, shelf.scores["tuned"].value, shelf.samples) == (0.25, 0.75, 200)
    assert shelf.delta is not None
    assert shelf.delta.value == pytest.approx(0.5)
    assert shelf.delta.stderr == pytest.approx(0.0282842712)
    assert shelf.improved("tuned") is True
    assert rows["words"].improved("tuned") is True
    assert rows["words"].scores["base"].stderr is None
    assert (rows["sums"].metric, rows["sums"].improved("tuned")) == ("exact_match (strict)", None)


def test_the_table_is_aligned(run_dir: Path) -> None:
    lines = score_table(score_rows(run_dir)).splitlines()
    assert lines[0].split() == ["task", "metric", "base", "tuned", "change", "chance"]
    assert "0.2500 ± 0.0200" in lines[2]
    assert lines[2].endswith("+0.5000 ± 0.0283  p < 0.001")
    assert score_table([]) == ""


def test_a_missing_model_leaves_a_gap(tmp_path: Path) -> None:
    save(tmp_path / "scores", "base", "10-00-00", results(0.25, 80.0))
    (tmp_path / "scores-tuned").mkdir()
    (tmp_path / "scores-tuned" / "results_2026.json").write_text("{half")
    outputs = [ScoresOutput(str(tmp_path / f"scores-{model}"), model, ("shelf",)) for model in ("base", "tuned")]
    rows = read_scores(evaluated(outputs))
    assert [row.delta for row in rows] == [None] * 3


def test_a_resumed_attempt_replaces_what_it_did_again(run_dir: Path) -> None:
    (loss,) = curves(run_dir / "events" / "train.jsonl")
    training, validation = loss["series"]
    assert (training["held_out"], training["points"], training["not_finite"]) == (False, [[1, 8.0], [2, 7.0], [3, 5.5]], [4])  # fmt: skip
    assert (validation["held_out"], validation["points"]) == (True, [[3, 6.0]])


def test_each_value_has_the_chart_that_it_belongs_in(tmp_path: Path) -> None:
    rows = [
        {"event": "begin", "step": 0},
        {
            "event": "log",
            "step": 1,
            "loss": 2.0,
            "lr": 1e-3,
            "values": {
                "loss": 2.0,
                "learning_rate": 1e-3,
                "grad_norm": 4.0,
                "epoch": 0.5,
                "rewards/chosen": 0.1,
                "rewards/rejected": -0.1,
                "rewards/accuracies": 0.75,
            },
        },
        {
            "event": "eval",
            "step": 1,
            "loss": 3.0,
            "values": {"eval_loss": 3.0, "eval_rewards/chosen": 0.2, "eval_runtime": 1.0, "epoch": 1},
        },
        {"event": "eval", "step": 1, "loss": None, "values": {}},
        {
            "event": "log",
            "step": 2,
            "loss": 1.0,
            "lr": None,
            "values": {"kl": 0.5, "reward": 1.5, "rewards/near/mean": 0.7, "entropy": "nan"},
        },
        {"event": "log", "step": "3", "loss": 1.0},
    ]
    events = tmp_path / "events.jsonl"
    events.write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = {chart["title"]: [(one["name"], one["held_out"]) for one in chart["series"]] for chart in curves(events)}
    assert found == {
        "Loss": [("loss", False), ("loss", True)],
        "Reward": [
            ("rewards/chosen", False),
            ("rewards/rejected", False),
            ("reward", False),
            ("rewards/near/mean", False),
            ("rewards/chosen", True),
        ],
        "Reward accuracy": [("rewards/accuracies", False)],
        "KL divergence": [("kl", False)],
        "Entropy": [("entropy", False)],
        "Learning rate": [("learning_rate", False)],
        "Gradient norm": [("grad_norm", False)],
    }
    assert logged(events)["loss"] == {1: 2.0, 2: 1.0}
    assert curves(tmp_path / "none") == []


class Page(HTMLParser):
    """Collects what a page would fetch, and its tags."""

    def __init__(self) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.fetched += [f"{tag} {name}" for name, _ in attrs if name in ("src", "href", "srcset", "data", "action")]


def test_the_page_stands_alone_and_escapes_everything(run_dir: Path) -> None:
    path = write_report(run_dir)
    assert path == run_dir / "report.html"
    text = path.read_text()
    page = Page()
    page.feed(text)
    assert page.fetched == []
    assert not {"script", "link", "img", "iframe"} & set(page.tags)
    assert "<script>" not in text
    assert "&lt;script&gt;" in text.lower()
    assert "&lt;/pre&gt;&lt;b&gt;" in text
    assert "url(" not in text
    assert "@import" not in text
    assert "0.7500 ± 0.0200" in text
    assert "prefers-color-scheme: dark" in text
    assert "@media print" in text
    assert list(run_dir.glob(".report*")) == []


def test_the_data_is_json_and_adds_up(run_dir: Path) -> None:
    found = json.loads(json.dumps(report_json(run_dir)))
    assert found["state"] == "complete"
    stage = next(row for row in found["stages"] if row["stage"] == "train")
    assert (stage["total_seconds"], stage["attempts"]) == (40.5, 2)
    assert [one["state"] for one in stage["history"]] == ["interrupted", "complete"]
    assert found["versions"]["torch"] == "2.13.0"
    assert found["models"] == ["base", "tuned"]


def test_a_run_that_only_began_has_a_report(run_dir: Path) -> None:
    (run_dir / "events" / "train.jsonl").unlink()
    (run_dir / "recipe.yaml").unlink()
    for file in Path("runs/demo").glob("evaluate-*/**/*.json"):
        file.unlink()
    text = report_html(run_dir)
    assert "<svg" not in text
    assert 'id="scores"' not in text
    assert "<pre>" not in text


def test_there_is_no_report_of_a_run_that_never_was(tmp_path: Path) -> None:
    with pytest.raises(RecipeError):
        write_report(tmp_path / "none")


def test_the_curve_is_well_formed_and_stays_inside() -> None:
    train = [(float(step), 5.0 / step) for step in range(1, 101)] + [(101.0, float("nan"))]
    lines = [Line("a<b", train, "c0"), Line("validation", [(50.0, 0.2), (100.0, 0.1)], "c1 held", dots=True)]
    root = ElementTree.fromstring(svg("Loss & more", lines))
    assert root.attrib["aria-label"] == "Loss & more: a<b from 5 to 0.05, validation from 0.2 to 0.1"
    _, _, width, height = map(float, root.attrib["viewBox"].split())
    points = [pair.split(",") for line in root.findall("polyline") for pair in line.attrib["points"].split()]
    assert len(root.findall("polyline")) == 3
    assert len(root.findall("circle")) == 2
    assert all(0 <= float(x) <= width and 0 <= float(y) <= height for x, y in points)
    assert svg("x", []) == ""
    assert svg("x", [Line("x", [], "c0")]) == ""
    alone = ElementTree.fromstring(svg("x", [Line("x", [(1.0, 2.0)], "c0")]))
    assert len(alone.findall("circle")) == 1  # a line of one point cannot be seen


def test_a_long_curve_keeps_its_peaks() -> None:
    points = [(float(step), 100.0 if step == 77_777 else 1.0 + step % 5) for step in range(100_000)]
    found = thinned(points, 800)
    assert len(found) <= 800
    assert (77_777.0, 100.0) in found
    assert [x for x, _ in found] == sorted(x for x, _ in found)
    assert thinned(points[:800], 800) == points[:800]


@pytest.mark.parametrize(("low", "high"), [(0, 1), (0, 0), (2.31, 2.34), (0, 12345), (-3, 8), (1e-9, 3e-9)])
def test_ticks_cover_what_they_measure(low: float, high: float) -> None:
    found = ticks(low, high, 5)
    assert found[0] <= low + 1e-12
    assert found[-1] >= high - 1e-12
    assert 2 <= len(found) <= 12


def test_smoothing_keeps_a_constant() -> None:
    assert [round(y, 9) for _, y in smoothed([(1, 2.0), (2, 2.0), (3, 2.0)])] == [2.0, 2.0, 2.0]


def test_facts_name_their_source() -> None:
    found = {fact.name: (fact.value, fact.source) for fact in facts(compiled())}
    assert found["From scratch"] == ("llama, 1 layers, hidden 64, 2 heads, vocabulary 300", "recipe.yaml:6:26")
    assert found["Training data"] == ("data/train.jsonl (text)", "recipe.yaml:3:23")
    assert found["Optimiser"] == ("adamw_wrong", "recipe.yaml:4:20")
    assert found["Hardware"] == ("CPU", "recipe.yaml:8:17")
    assert found["Evaluation"] == ("arc_easy", "recipe.yaml:9:12")
    batch, why = found["Batch"]  # nobody wrote it: the reason is in words
    assert batch.endswith(" accumulation × 1 process")
    assert " " in why
    assert not {"Adapter", "Held out"} & found.keys()


def test_facts_of_several_trainings_have_their_names() -> None:
    plan = compiled().plan
    second = plan.stages[1].replaced(name="more")
    found = [fact.name for fact in facts(compiled().replaced(plan=plan.replaced(stages=(*plan.stages, second))))]
    assert [name for name in found if name.startswith("Method")] == ["Method (train)", "Method (more)"]
