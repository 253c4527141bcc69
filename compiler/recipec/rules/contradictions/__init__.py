"""Contradictions: what cannot hold together in a recipe, each a rule with a code of its own. They come before all others."""

from recipec.rules.contradictions import (
    checking,
    course,
    data,
    gating,
    generating,
    handover,
    machine,
    methods,
    model,
    names,
    programs,
    quantising,
    script,
    serving,
    sharing,
    splitting,
    stacking,
    stopping,
    surroundings,
    training,
    undoing,
    weights,
    writing,
)
from recipec.rules.rule import Rule

CONTRADICTIONS: tuple[Rule, ...] = tuple(
    sorted(
        (
            *machine.RULES,
            *model.RULES,
            *names.RULES,
            *data.RULES,
            *checking.RULES,
            *gating.RULES,
            *generating.RULES,
            *programs.RULES,
            *quantising.RULES,
            *handover.RULES,
            *training.RULES,
            *methods.RULES,
            *script.RULES,
            *serving.RULES,
            *sharing.RULES,
            *splitting.RULES,
            *stacking.RULES,
            *stopping.RULES,
            *course.RULES,
            *writing.RULES,
            *surroundings.RULES,
            *weights.RULES,
            *undoing.RULES,
        ),
        key=lambda one: one.code,
    )
)
