"""The pictures of the README are there, are small, and show what the program prints today."""

import re
import struct
import sys
from importlib import import_module
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from rich.text import Text

ROOT = Path(__file__).parents[2]
PICTURES = ROOT / "docs" / "pictures"
DOCUMENTS = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]


@pytest.fixture
def pictures(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    yield import_module("pictures")
    sys.modules.pop("pictures")


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_what_a_document_refers_to_is_there(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    found = re.findall(r"\]\(([^)#\s]+)[^)]*\)|(?:src|srcset)=\"([^\"]+)\"", text)
    for target in {first or second for first, second in found}:
        assert not target.startswith("http"), "nothing of the documents depends on another site"
        assert (document.parent / target).exists(), target


def test_the_readme_shows_every_picture() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for path in [*PICTURES.glob("*.svg"), *PICTURES.glob("*.png")]:
        assert f"docs/pictures/{path.name}" in readme
        assert path.stat().st_size < 200_000


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_photograph_is_whole(scheme: str, pictures: Any) -> None:
    data = (PICTURES / f"report-{scheme}.png").read_bytes()
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    assert data.endswith(b"IEND\xaeB`\x82")
    assert struct.unpack(">II", data[16:24]) == (pictures.WIDTH, pictures.HEIGHT)


def test_the_error_picture_says_what_is_printed_today(pictures: Any) -> None:
    """Stale? `python scripts/pictures.py error`."""
    svg = (PICTURES / "error.svg").read_text(encoding="utf-8")
    root = ElementTree.fromstring(svg)
    lines: dict[float, str] = {}
    for node in root.iter("{http://www.w3.org/2000/svg}text"):
        if node.attrib["class"] != "error-title":
            lines[float(node.attrib["y"])] = lines.get(float(node.attrib["y"]), "") + (node.text or "")
    shown = "".join("".join(lines[y] for y in sorted(lines)).replace("\xa0", " ").split())
    printed = Text.from_ansi(f"$ {pictures.COMMAND}\n{pictures.error_text()}").plain
    assert shown == "".join(printed.split())
    assert "http" not in svg.replace("http://www.w3.org/", "").replace("https://www.textualize.io", "")
