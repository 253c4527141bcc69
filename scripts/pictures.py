"""Make the pictures of the README from what the program really prints and writes.

`python scripts/pictures.py error` needs nothing more; `python scripts/pictures.py report` photographs
runs/quickstart/report.html, light and dark, and needs `make quickstart` before it and a `chromium` on the PATH.
"""

import contextlib
import io
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.text import Text

from recipec.diagnostics import render, summary
from recipec.pipeline import compile_file

ROOT = Path(__file__).parent.parent
PICTURES = ROOT / "docs" / "pictures"
RECIPE = "docs/pictures/mistakes.yaml"
COMMAND = f"recipe check {RECIPE}"
REPORT = ROOT / "runs" / "quickstart" / "report.html"
WIDTH, HEIGHT = 900, 870  # of the photograph, in CSS pixels: the scores and the first curves
CHROMIUM = [
    *("chromium", "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync", "--hide-scrollbars"),
]


def error_text() -> str:
    """Return what `recipe check` prints to a terminal for the recipe of the picture, colours included."""
    with contextlib.chdir(ROOT):
        findings = compile_file(RECIPE, []).findings
    return render(findings, colour=True) + "\n" + summary(findings) + "\n"


def error_svg() -> str:
    """Return the picture: a terminal window that looks the same on a light and on a dark page."""
    shown = Text.from_ansi(f"\x1b[1;32m$\x1b[0m {COMMAND}\n{error_text()}".rstrip())
    width = max(line.cell_len for line in shown.split())
    console = Console(record=True, width=width, file=io.StringIO(), force_terminal=True, highlight=False)
    console.print(shown, soft_wrap=True)
    svg = console.export_svg(title="recipe check", unique_id="error")
    # The font comes from another site, where a picture on a page may not fetch from: the reader's own will do.
    svg = re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)
    svg = svg.replace(
        "Fira Code, monospace", "ui-monospace, SFMono-Regular, Menlo, Consolas, DejaVu Sans Mono, monospace"
    )
    return "\n".join(line.rstrip() for line in svg.splitlines()) + "\n"


def photograph(scheme: str) -> None:
    """Photograph the report as a browser shows it in a colour scheme, `light` or `dark`."""
    page = REPORT.read_text(encoding="utf-8")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "report.html"
        file.write_text(page, encoding="utf-8")
        dark = ["--blink-settings=preferredColorScheme=0"] if scheme == "dark" else []
        target = PICTURES / f"report-{scheme}.png"
        command = [*CHROMIUM, *dark, f"--user-data-dir={folder}/profile", f"--window-size={WIDTH},{HEIGHT}"]
        subprocess.run(
            [*command, f"--screenshot={target}", f"file://{file}"], check=True, capture_output=True, timeout=120
        )


def main() -> None:
    """Make the pictures that are named."""
    for name in sys.argv[1:] or ["error", "report"]:
        if name == "error":
            (PICTURES / "error.svg").write_text(error_svg(), encoding="utf-8")
        elif name == "report":
            for scheme in ("light", "dark"):
                photograph(scheme)
        else:
            raise SystemExit(f"there is no picture {name}")


if __name__ == "__main__":
    main()
