"""The rules as people read them: `recipe rules`, and `docs/rules.md` (`python -m recipec.rules.catalogue`)."""

from __future__ import annotations

import sys
from typing import Any

from recipec import rows
from recipec.rows.reading import WHOLE
from recipec.rules import RULES
from recipec.rules.contradictions import CONTRADICTIONS
from recipec.rules.rule import HEADINGS, MEANT, Rule

EVERY = (*RULES, *CONTRADICTIONS)

# Mistakes that need no rule: the language, the plan or the way files are emitted leaves no room for them.
ELSEWHERE = (
    ("unknown or misspelt keys, at any depth, in the recipe and in raw overrides", "R001, T020"),
    ("keys of a tool that a later release will not read", "T023"),
    ("wrong types, values and ranges; what YAML reads as text", "R003, R004, R005, T021"),
    ("names of another tool, or of an older release of it", "R001 (with the right name), T020"),
    ("batch size, micro batch, accumulation and GPUs that do not agree", "P060; every file gets one plan's numbers"),
    ("completions of a prompt that do not fill a batch, GPUs of engines that are counted twice", "P073, P074, P105"),
    ("bf16, Flash Attention and kernels that the GPU does not have", "P029, P030, P034, P035"),
    ("packing of rows that may not be packed", "P041"),
    ("attention that lets packed rows see each other", "none that the language has, at the pinned releases; else T003"),
    ("quantised weights that are trained, 8-bit optimisers that FSDP cannot shard", "P031, P067, P068"),
    ("warmup beyond the end, steps and epochs together, schedules without what they need", "P061 to P065, P102"),
    ("an adapter from the stage before, and nothing that says what becomes of it", "P027, P028"),
    ("a stray default of accelerate", "every launcher names its configuration file"),
    ("re-entrant checkpointing under DDP", "`use_reentrant: false` is written, and an override of it refused (T010)"),
    ("merging into quantised weights", "a merge is a stage of its own, on weights in the training's precision"),
    ("a run resumed with another batch, world size or data", "`recipe run` compares with the record of the run"),
    ("pins that cannot be installed together", "every environment is a full lock that was installed"),
    ("two recipes that write one folder", "O005"),
    ("secrets in a recipe", "L027"),
)


def find_rule(word: str) -> Rule | None:
    """Return the rule or contradiction with this code or name."""
    return next((one for one in EVERY if word in (one.name, one.code)), None)


def as_json(one: Rule) -> dict[str, Any]:
    """Return a rule for machines."""
    about = {"code": one.code, "name": one.name, "severity": one.severity, "sources": one.sources}
    return {**about, "can_be_allowed": one.waivable, "documentation": one.documentation()}


def table() -> str:
    """Return a line for each rule and each contradiction."""
    width = max(len(one.name) for one in EVERY)
    lines = ["Rules, which can be allowed:", *(_line(one, width) for one in RULES)]
    lines += ["", "Of local data, which can be allowed too:", *(f"{code}  {name}" for code, name in rows.NAMES.items())]
    meant = [one for one in CONTRADICTIONS if one.waivable]
    lines += ["", "Contradictions that can be allowed:", *(_line(one, width) for one in meant)]
    never = [one for one in CONTRADICTIONS if not one.waivable]
    return "\n".join([*lines, "", "Contradictions:", *(_line(one, width) for one in never)]) + "\n"


def _line(one: Rule, width: int) -> str:
    return f"{one.code}  {one.severity:<7}  {one.name:<{width}}  {_first(one)}"


def page(one: Rule) -> str:
    """Return the whole documentation of a rule, in Markdown."""
    parts = one.documentation()
    text = f"## {one.code} {one.name}\n\nSeverity: {one.severity}.\n\n### What it does\n\n{parts['What it does']}\n"
    for heading in HEADINGS:
        body = parts[heading]
        body = body if heading == HEADINGS[0] else f"```yaml\n{body}\n```"
        text += f"\n### {heading}\n\n{body}\n"
    if not one.waivable:
        return text + "\nIt cannot be allowed.\n"
    if MEANT in parts:
        text += f"\n### {MEANT}\n\n{parts[MEANT]}\n"
    allow = f'allow: {{{one.name}: "why it does not hold here"}}'
    text += f"\nTo allow it, give the reason in the recipe:\n\n```yaml\n{allow}\n```\n"
    return text + (f"\nSeen in: {one.sources}.\n" if one.sources else "")


def document() -> str:
    """Return `docs/rules.md`."""
    named = ",\n".join(f"`{name}` ({code})" for code, name in rows.NAMES.items())
    meant = " and ".join(", ".join(one.code for one in CONTRADICTIONS if one.waivable).rsplit(", ", 1))
    other = "\n".join(f"| {what} | {where} |" for what, where in ELSEWHERE)
    pages = "\n".join(page(one) for one in EVERY)
    return f"""# Rules

Made by `make generated` from the rules themselves. `recipe check` judges every recipe by them, and says where; `recipe
rules` lists them, and `recipe rules L015` shows one. Each example below is tested: laid over a small right recipe, it is
found by its rule, and with what stands under "Use instead" it is not.

A rule that does not hold for a recipe is allowed there, with the reason: `allow: {{NAME: "reason"}}`. An allowance that
matches nothing any more is a warning (L002), one that no rule has is an error (L001), and so is one of a contradiction
that cannot be allowed (L003).

| code | severity | name | what it finds |
|---|---|---|---|
{_rows(RULES)}

## Contradictions

They are judged before the rules: what a recipe says cannot hold together, so there is no plan that a rule could judge.
Somebody may mean {meant}: these can be allowed, no others.

| code | severity | name | what it finds |
|---|---|---|---|
{_rows(CONTRADICTIONS)}

## Local data

The rows of local files are read too: all of them up to {WHOLE >> 20} MiB, beyond that the beginning and a spread sample.
[findings.md](findings.md) shows what is said of them. These can be allowed by their names as well:
{named}.

## What needs no rule

| mistake | what keeps it out |
|---|---|
{other}

{pages}"""


def _rows(rules: tuple[Rule, ...]) -> str:
    return "\n".join(
        f"| [{one.code}](#{one.code.lower()}-{one.name}) | {one.severity} | `{one.name}` | {_first(one)} |"
        for one in rules
    )


def _first(one: Rule) -> str:
    return " ".join(one.documentation()["What it does"].split())


if __name__ == "__main__":
    sys.stdout.write(document())
