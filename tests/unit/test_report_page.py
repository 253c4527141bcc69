"""The pages of reports in a real headless browser: their layout, their contrast, what they ask for, and what they show."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import measured_run
import pytest
import reported_run
from browser import Browser, chromium, started

from recipec.report import comparison_data, report_json, write_comparison, write_report
from recipec.report.scores import number

pytestmark = pytest.mark.skipif(
    chromium() is None, reason="chromium is not installed (Debian: apt-get install chromium)"
)

# Of each text that is shown: its contrast with the ground behind it, as WCAG 2.1 defines it.
CONTRAST = """
(() => {
  const parse = text => { const n = text.match(/[\\d.]+/g).map(Number); return [n[0], n[1], n[2], n.length > 3 ? n[3] : 1]; };
  const light = c => { const [r, g, b] = c.slice(0, 3).map(v => v / 255).map(v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  const ground = one => { for (let at = one; at; at = at.parentElement) { const c = parse(getComputedStyle(at).backgroundColor);
    if (c[3] === 1) return c; } return [255, 255, 255, 1]; };
  document.querySelectorAll("details").forEach(one => one.open = true);
  const found = [];
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) {
    const one = walk.currentNode.parentElement;
    if (!walk.currentNode.data.trim() || !one.getClientRects().length) continue;
    const style = getComputedStyle(one), ink = parse(one.namespaceURI.endsWith("svg") ? style.fill : style.color);
    const [a, b] = [light(ink), light(ground(one))];
    found.push([(Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05), style.opacity, walk.currentNode.data.trim().slice(0, 40)]);
  }
  return found;
})()
"""
CHARTS = """
[...document.querySelectorAll("figure")].map(one => [one.dataset.stage, one.dataset.chart,
  [...one.querySelectorAll("polyline:not(.smooth)")].map(line => line.points.length)])
"""
SCATTERS = """
[...document.querySelectorAll("figure[data-scatter]")].map(one => [one.dataset.scatter, one.querySelectorAll("circle").length,
  [...one.querySelectorAll("polyline.front")].map(line => line.points.length), one.querySelectorAll("line.limit").length])
"""
NARROWEST = "Math.min(...[...document.querySelectorAll('th, td')].filter(c => c.getClientRects().length && c.innerText.trim()).map(c => c.clientWidth))"
ROWS = '[...document.querySelectorAll("#scores tbody tr")].map(row => row.innerText)'


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with started() as one:
        yield one


class Reported(NamedTuple):
    """The pages of a run, of one that failed, of both side by side and of many, and the data that they show."""

    pages: dict[str, Path]
    data: dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def reported(tmp_path_factory: pytest.TempPathFactory) -> Reported:
    folder = tmp_path_factory.mktemp("reported")
    with contextlib.chdir(folder):
        runs = {
            "course": reported_run.make(folder),
            "second": reported_run.make(folder, "second", "2e-3", 1, failed=True),
        }
        other = {f"rate-{n}": reported_run.make(folder, f"rate-{n}", f"{n}e-4", n) for n in range(3, 8)}
        pages = {name: write_report(run) for name, run in runs.items()}
        pages["measured"] = write_report(speeds := measured_run.make(folder))
        pages["many"] = write_comparison({**runs, **other}, folder / "runs")
        data = {name: report_json(run) for name, run in {**runs, "measured": speeds}.items()}
        both = write_comparison(runs, folder / "runs")
        return Reported({**pages, "both": both}, {**data, "both": comparison_data(runs)})


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("name", ["course", "second", "both", "many", "measured"])
def test_a_page_fits_and_can_be_read(browser: Browser, reported: Reported, name: str, width: int, dark: bool) -> None:
    browser.open(reported.pages[name], width=width, dark=dark)
    texts = browser.run(CONTRAST)
    assert browser.run("[document.documentElement.scrollWidth, innerWidth]") == [width, width]
    assert len(texts) > 50
    assert browser.run(NARROWEST) >= 48  # no word stands letter under letter
    assert [(round(contrast, 2), text) for contrast, _, text in texts if contrast < 4.5] == []
    assert {opacity for _, opacity, _ in texts} == {"1"}
    assert browser.asked_for() == [reported.pages[name].as_uri()]
    assert browser.complaints() == []
    ground = browser.run("getComputedStyle(document.body).backgroundColor")
    assert ground == ("rgb(20, 22, 25)" if dark else "rgb(246, 246, 244)")


def test_it_can_be_printed(browser: Browser, reported: Reported) -> None:
    for name in ("course", "both"):
        browser.open(reported.pages[name], width=700, media="print", dark=True)
        assert browser.run("document.documentElement.scrollWidth") == 700
        assert browser.run("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
        assert all(contrast >= 4.5 for contrast, _, _ in browser.run(CONTRAST))


def test_nothing_could_be_fetched_or_run(browser: Browser, reported: Reported, tmp_path: Path) -> None:
    """The page's own policy holds back what would slip in: it is tried with a picture, a script and a style sheet."""
    planted = (
        '<img src="http://127.0.0.1:9/a.png"><script>document.title = "ran"</script>'
        '<link rel="stylesheet" href="http://127.0.0.1:9/b.css">'
    )
    page = tmp_path / "planted.html"
    page.write_text(reported.pages["course"].read_text().replace("<main>", f"<main>{planted}"))
    browser.open(page, width=1280)
    assert browser.run("document.title") == "course · run report"
    assert len([text for text in browser.complaints() if "Content Security Policy" in text]) == 3


def test_every_curve_has_its_points(browser: Browser, reported: Reported) -> None:
    browser.open(reported.pages["course"], width=1280)
    assert browser.run(CHARTS) == (wanted := _points(reported.data["course"]))
    assert [one for one in wanted if one[1] == "Loss"] == [["sft", "Loss", [60, 3]], ["dpo", "Loss", [59, 3]]]
    browser.open(reported.pages["both"], width=1280)
    assert browser.run(CHARTS) == (wanted := _points(reported.data["both"]))
    assert len(wanted[0][2]) == 4


def test_what_a_server_reached_is_drawn_with_what_nothing_beats(browser: Browser, reported: Reported) -> None:
    browser.open(reported.pages["measured"], width=1200)
    [found] = reported.data["measured"]["benchmarks"]
    drawn = browser.run(SCATTERS)
    assert [chart[0] for chart in drawn] == [f"{one}: tokens in a second over {what}" for one in ("chat", "papers") for what in ("first token", "between tokens")]  # fmt: skip
    for title, dots, front, limits in drawn:
        own = [row for row in found["rows"] if row["workload"] == title.partition(":")[0] and not row["problem"]]
        word = "first_token_ms" if "first" in title else "between_tokens_ms"
        unbeaten = [row for row in own if word in row["unbeaten"]]
        assert dots == len(own)
        assert front == ([len(unbeaten)] if len(unbeaten) > 1 else [])
        assert limits == 1


@pytest.mark.parametrize("name", ["course", "both"])
def test_the_table_holds_the_scores_of_the_data(browser: Browser, reported: Reported, name: str) -> None:
    browser.open(reported.pages[name], width=1280)
    data, shown = reported.data[name], browser.run(ROWS)
    assert len(shown) == len(data["scores"]) == (3 if name == "course" else 9)
    for text, row in zip(shown, data["scores"], strict=True):
        assert row["task"] in text
        for score in row["scores"].values():
            assert _said(score) in text
        for change in row["changes"].values():
            assert ("+" if change["value"] > 0 else "") + _said(change) in text
            assert (change["p"] is None) == ("p " not in text)


def _points(data: dict[str, Any]) -> list[Any]:
    return [[one["stage"], one["title"], [len(s["points"]) for s in one["series"]]] for one in data["curves"]]


def _said(score: dict[str, Any]) -> str:
    error = f" ± {number(score['stderr'])}" if score["stderr"] is not None else ""
    return number(score["value"]) + error


def test_what_others_wrote_is_text(browser: Browser, reported: Reported) -> None:
    browser.open(reported.pages["course"], width=1280)
    text = browser.run("document.body.innerText")
    for part in ("<b>briefly</b>", "mind the <gap>"):
        assert part in text
    browser.open(reported.pages["second"], width=1280)
    text = browser.run("document.body.innerText")
    assert "ValueError: <bad> ****" in text
    assert reported_run.SECRET not in reported.pages["second"].read_text() + json.dumps(reported.data["second"])
