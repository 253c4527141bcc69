"""What a report says of a server that was measured: what was best, why the others were not, and every measurement."""

from __future__ import annotations

import json
from pathlib import Path

import measured_run
import pytest

from recipec.report import report_html, report_json, report_markdown


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return measured_run.make(tmp_path)


def test_the_best_and_why_the_others_are_not_it(run: Path) -> None:
    [found] = report_json(run)["benchmarks"]
    assert (found["of"], found["tool"], found["share"]) == ("served", "vllm_bench 0.33.0", 95)
    assert found["best"]["point"] == "max_requests=128,kv_cache=fp8"
    assert {one["point"]: one["why"] for one in found["settings"]} == {
        "as-served": "554 tokens/s at chat-32, -28.6%; 338 tokens/s at papers-0.5-a-second, -28.6%",
        "max_requests=64,max_batched_tokens=256": "609 tokens/s at chat-32, -21.4%; 371 tokens/s at papers-0.5-a-second, -21.4%",
        "max_requests=64,max_batched_tokens=2048": "665 tokens/s at chat-32, -14.3%; 405 tokens/s at papers-0.5-a-second, -14.3%",
        "max_requests=512,max_batched_tokens=2048": measured_run.NOT_STARTED,
        "max_requests=128,kv_cache=fp8": "",
    }
    left = "256 tokens in a step are fewer than 512 requests at once"
    assert found["left_out"] == [{"point": "max_requests=512,max_batched_tokens=256", "why": left}]


def test_a_server_that_did_not_start_is_one_row_and_on_no_front(run: Path) -> None:
    [found] = report_json(run)["benchmarks"]
    assert [row["load"] for row in found["rows"] if row["problem"]] == [None]
    assert len(found["rows"]) == 4 * 5 + 1
    assert {
        row["load"]: row["unbeaten"] for row in found["rows"] if row["point"] == "max_requests=128,kv_cache=fp8"
    } == {
        "chat-1": ["first_token_ms"],
        "chat-8": ["first_token_ms", "between_tokens_ms"],
        "chat-32": ["first_token_ms", "between_tokens_ms"],
        "chat-128": ["first_token_ms", "between_tokens_ms"],
        "papers-0.5-a-second": ["first_token_ms", "between_tokens_ms"],
    }
    failed = next(row for row in found["rows"] if row["failed"])
    assert (failed["load"], failed["unbeaten"]) == ("chat-128", [])


def test_markdown_and_page_say_the_same(run: Path) -> None:
    text, page = report_markdown(run), report_html(run)
    best = "max_requests=128, kv_cache=fp8 wrote most, with first token 900 ms and between tokens 45 ms at most for 95 % of requests."
    assert best in text
    assert best in page
    assert (
        "| max_requests=128, kv_cache=fp8 | chat-32 | 775 | 3.029 | 344.0 | 28.4 | first token, between tokens | 0 |"
        in text
    )
    assert f"| max_requests=512, max_batched_tokens=2048 | every load | – | – | – | – | – | {measured_run.NOT_STARTED} |" in text  # fmt: skip
    assert "left out: 256 tokens in a step are fewer than 512 requests at once" in text
    assert page.count('<svg class="chart"') == 4


def test_where_nothing_held_that_is_said(run: Path) -> None:
    file = run / "speed" / "benchmark.json"
    found = json.loads(file.read_text())
    file.write_text(json.dumps(found | {"best": None}))
    assert (
        "No settings held first token 900 ms and between tokens 45 ms at most for 95 % of requests."
        in report_markdown(run)
    )
    file.write_text(json.dumps(found | {"best": None, "slo": None}))
    assert "No settings answered every request." in report_markdown(run)
    file.unlink()
    assert report_json(run)["benchmarks"] == []
