"""Contradictions about adapters that are combined into one."""

from __future__ import annotations

from collections.abc import Iterator

from recipec.kinds.init import NAME as INIT
from recipec.kinds.merge import Merge
from recipec.kinds.train.continued import left
from recipec.language import Recipe
from recipec.language.stages import Merge as MergeWords
from recipec.plan import ModelOutput
from recipec.rules.rule import Context, Fault, contradiction

SPARSE = ("ties", "ties_svd", "dare_linear", "dare_ties", "dare_linear_svd", "dare_ties_svd", "magnitude_prune", "magnitude_prune_svd")  # fmt: skip


@contradiction("P111", "adapters-of-different-bases", "merge", words=("merge",))
def different_bases(see: Context, _s: Merge) -> Iterator[Fault]:
    """Finds adapters of different bases that are to be combined.

    Why is this bad:
    An adapter is a difference to the weights that it was trained on. On others it means nothing, and where the shapes agree no error says so.

    Example:
        stages:
          - {name: maths, adapter: {rank: 16}}
          - {name: korean, start_from: base, adapter: {rank: 16}, model: {base: my-lab/another}}
          - {name: both, merge: {adapters: {maths: 0.5, korean: 0.5}}}

    Use instead:
        stages:
          - {name: maths, adapter: {rank: 16}}
          - {name: korean, start_from: base, adapter: {rank: 16}}
          - {name: both, merge: {adapters: {maths: 0.5, korean: 0.5}}}
    """
    stage = see.stage
    bases = list(dict.fromkeys(getattr(one.output, "path", "") for one in stage.inputs)) if stage is not None else []
    bases = [f"model.from_scratch ({base})" if base.endswith(f"/{INIT}") else base for base in bases]
    if len(bases) > 1:
        message = f"the adapters are of different bases: {', '.join(bases)}"
        yield Fault("merge.adapters", message, "combine adapters of one base")


@contradiction("P112", "density-of-a-merge", "merge", words=("merge",))
def density(_see: Context, s: Merge) -> Iterator[Fault]:
    """Finds a merge method without the density that it needs, or with a key that it does not have.

    Why is this bad:
    PEFT cannot compute a sparse merge without a density, and ignores the keys of other methods.

    Example:
        stages:
          - {name: maths, adapter: {rank: 16}}
          - {name: korean, start_from: base, adapter: {rank: 16}}
          - {name: both, merge: {adapters: {maths: 0.5, korean: 0.5}, how: ties}}

    Use instead:
        stages:
          - {name: maths, adapter: {rank: 16}}
          - {name: korean, start_from: base, adapter: {rank: 16}}
          - {name: both, merge: {adapters: {maths: 0.5, korean: 0.5}, how: ties, density: 0.5}}
    """
    if s.how in SPARSE and s.density is None:
        yield Fault("merge.how", f"{s.how} needs a density", "set merge.density, such as 0.5")
    if s.how is not None and s.how not in SPARSE and s.density is not None:
        yield Fault("merge.density", f"{s.how} keeps all values", "drop density, or use ties, dare or magnitude_prune")
    if s.majority == "frequency" and s.how is not None and "ties" not in s.how:  # total is the default of all
        yield Fault("merge.majority", f"{s.how} elects no signs", "drop majority, or use how: ties")


@contradiction("P113", "words-beside-a-merge", "part", words=("merge",))
def beside_a_merge(see: Context, _recipe: Recipe) -> Iterator[Fault]:
    """Finds a merge stage with keys of a training.

    Why is this bad:
    A merge trains nothing: the keys have no effect, and the training that was meant does not happen.

    Example:
        stages:
          - {name: maths, adapter: {rank: 16}}
          - {name: whole, merge: maths, train: {learning_rate: 1e-6}}

    Use instead:
        stages:
          - {name: maths, adapter: {rank: 16}}
          - {name: whole, merge: maths}
          - {name: after, train: {learning_rate: 1e-6}}
    """
    part = see.said.part
    if part.kind != "merge" or part.own is None:
        return
    for word in part.own.entries:
        if word not in ("name", "merge"):
            yield Fault(word, f"a merge has no {word}", f"drop {word}, or give the training a stage of its own")


@contradiction("P114", "ranks-that-do-not-add-up", "merge", words=("merge",))
def different_ranks(see: Context, s: Merge) -> Iterator[Fault]:
    """Finds adapters of different ranks combined by a method that adds their matrices.

    Why is this bad:
    Matrices of different ranks have different shapes. PEFT refuses to add them, after all trainings.

    Example:
        stages:
          - {name: maths, adapter: {rank: 16}}
          - {name: korean, start_from: base, adapter: {rank: 8}}
          - {name: both, merge: {adapters: {maths: 0.5, korean: 0.5}, how: linear}}

    Use instead:
        stages:
          - {name: maths, adapter: {rank: 16}}
          - {name: korean, start_from: base, adapter: {rank: 8}}
          - {name: both, merge: {adapters: {maths: 0.5, korean: 0.5}, how: svd}}
    """
    stage = see.stage
    taken = [one.output for one in stage.inputs] if stage is not None else []
    adapters = [left(see.plan, one.adapter) for one in taken if isinstance(one, ModelOutput)]
    ranks = [one.rank for one in adapters if one is not None]
    given = see.said.part.merge
    if isinstance(given, MergeWords) and len(set(ranks)) > 1 and s.how not in ("cat",) and "svd" not in (s.how or ""):
        message = f"{s.how} adds adapters of one rank; these have {', '.join(map(str, ranks))}"
        # the way of the same name with svd has the same words beside it
        able = "cat or svd" if s.how in (None, "linear") else f"{s.how}_svd"
        yield Fault("merge.how", message, f"use how: {able}, or train them with one rank")


RULES = (different_bases, density, beside_a_merge, different_ranks)
