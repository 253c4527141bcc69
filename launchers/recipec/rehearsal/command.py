"""`recipe run --rehearse`, as the command line has it."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path

from recipec.engine import Choice, PlainDisplay, display_for
from recipec.rehearsal import NotRehearsed, as_json, as_text, rehearse
from recipec.run_command import Overrides

DONE, FAILED = 0, 3


def command(options: argparse.Namespace, tell: Callable[[str], None], say: Callable[[str], None]) -> int:
    """Rehearse what the command line names; `tell` prints the result, `say` what else there is to say."""
    overrides = Overrides(options.settings, options.profiles, options.variables, options.variants)
    choice = Choice(tuple(options.select), tuple(options.exclude), options.start, tuple(options.only), options.force)
    display = PlainDisplay(sys.stderr) if options.json else display_for()  # only the result goes to standard output
    out, runs = Path(options.out), Path("runs")
    try:
        found = rehearse(
            options.file,
            overrides,
            out,
            runs,
            choice=choice,
            dry=options.dry_run,
            say=say,
            display=display,
            jobs=options.jobs,
        )
    except NotRehearsed as error:
        say("\n  ".join([f"not rehearsed: {error}", *error.lines]))
        return FAILED
    tell(json.dumps(as_json(found), ensure_ascii=False, indent=2) if options.json else as_text(found))
    return found.code or DONE
