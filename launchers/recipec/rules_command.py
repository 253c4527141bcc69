"""`recipe rules`: all rules, or one."""

from __future__ import annotations

import argparse

from recipec.diagnostics import Finding
from recipec.printing import DONE, as_json_text, print_findings, print_text
from recipec.rules.catalogue import EVERY, as_json, find_rule, page, table
from recipec.suggest import nearest


def command(options: argparse.Namespace) -> int:
    """Print what is asked for; return the exit code."""
    if options.rule is None:
        print_text(as_json_text([as_json(one) for one in EVERY]) if options.json else table())
        return DONE
    one = find_rule(options.rule)
    if one is None:
        close = nearest(options.rule, [name for each in EVERY for name in (each.code, each.name)])
        finding = Finding("U002", f'there is no rule "{options.rule}"', None, close, "`recipe rules` lists them")
        print_findings([finding._replace(file="command line")], as_json=options.json)
        return 2
    print_text(as_json_text(as_json(one)) if options.json else page(one))
    return DONE
