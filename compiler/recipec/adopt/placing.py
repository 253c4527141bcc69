"""Where each line goes: what is prepared where, which loops evaluate, and why a script cannot be adopted."""

from collections.abc import Sequence
from typing import NamedTuple

import libcst as cst

from recipec.adopt.distributed import refuse_distributed
from recipec.adopt.evaluation import Gather, batch_target, shared
from recipec.adopt.flow import Flow, Origin, alias
from recipec.adopt.remarks import downloads, owner, remarks, waits
from recipec.adopt.schedules import counted_by_hand, counts_rows_of_all
from recipec.adopt.survey import Assignment, Key, Survey, Use
from recipec.adopt.training import code, refuse_hidden_forward, refuse_parting, settings, summed_losses, totals
from recipec.adopt.tree import calls, dotted, last, names
from recipec.adopt.trouble import Trouble


class Places(NamedTuple):
    """What goes where: statements by the node that they follow, and the loops by what they do."""

    prepare: dict[cst.CSTNode, list[tuple[str, ...]]]  # after this statement, prepare these names
    gather: dict[cst.CSTNode, Gather]  # after this statement of an evaluation
    batches: dict[cst.CSTNode, frozenset[str]]  # loop over a prepared loader -> names that hold its batches
    models: set[Key]  # the names that hold a prepared model, which moves it to its device
    homes: dict[str, int]  # function -> the line after which its models are prepared
    notes: list[str]
    flow: Flow
    summed: set[cst.CSTNode]  # calls of `backward` whose loss is a sum over the batch
    totals: dict[cst.CSTNode, list[str]]  # after this loop, these lines
    settings: dict[str, bool]  # of DistributedDataParallel
    waits: set[cst.CSTNode]  # statements before which all processes wait
    downloads: set[cst.CSTNode]  # statements that one process goes through first


def place(survey: Survey, module: cst.Module) -> Places:
    """Find the place of everything. Raises Trouble with the place to blame where something cannot be found."""
    refuse_distributed(survey)
    backward = [use for use in survey.calls if owner(use, "backward") is not None]
    if not backward:
        raise Trouble(
            module, "A001", "there is no training loop here", "no line calls `.backward()`: name the file that does"
        )
    over = [use for use in survey.loops if survey.over_loader(use)]
    training = [use for use in over if survey.learns(use.scope, use.node)]
    around = {n for use in training for n in survey.above(use.node)}
    by_next = [u for u in [*survey.loops, *survey.whiles] if u not in over and u.node not in around and survey.taken(u)]
    training += [use for use in by_next if survey.learns(use.scope, use.node)]
    if not training:
        _no_loop(survey, backward[0])
    flow = Flow(survey)
    text = module.code
    refuse_hidden_forward(flow, training)
    reduced = totals(flow, training)
    refuse_parting(flow, training, reduced)
    places = Places(
        {},
        {},
        {},
        set(),
        {},
        [],
        flow,
        summed_losses(flow),
        reduced,
        settings(flow, training, text),
        waits(survey),
        downloads(survey),
    )
    groups = [_group(survey, flow, block) for block in _blocks(survey, _optimizers(survey))]
    shared_out = _share(survey, flow, groups, over, training, module, places)
    for group in groups:
        _prepare(survey, flow, group, shared_out, training, places)
    _other_loaders(shared_out, places)
    places.notes[:] = remarks(survey, training, text, places.notes)
    return places


def _no_loop(survey: Survey, backward: Use) -> None:
    for node in survey.above(backward.node):
        if (isinstance(node, cst.For) and not isinstance(node.iter, cst.Call | cst.Name)) or isinstance(
            node, cst.While
        ):
            break
    else:
        node = backward.node
    for use in survey.loops:
        if isinstance(use.node, cst.For) and survey.learns(use.scope, use.node):
            node = use.node
    advice = "let a torch.utils.data.DataLoader give the batches: it is what several processes share"
    if isinstance(node, cst.For) and isinstance(node.iter, cst.Subscript):
        advice = "give each DataLoader a name of its own, and write one loop that trains and one that evaluates"
    if not isinstance(node, cst.For | cst.While):
        advice = "the loop over batches must be in this file, over a DataLoader made here"
    raise Trouble(node, "A002", "the loop that trains is over no DataLoader that can be followed", advice)


class Group(NamedTuple):
    """What is prepared together: the optimisers of one block, and the models that they train, by their names there."""

    scope: str
    body: cst.CSTNode
    last: cst.CSTNode  # the last statement of the block that makes one of the optimisers
    optimizers: tuple[str, ...]
    models: tuple[str, ...]


def _optimizers(survey: Survey) -> list[Assignment]:
    """Return every statement that makes an optimiser. Raises Trouble where one cannot be adopted."""
    found: list[Assignment] = []
    for made in survey.assignments:
        call = made.value if isinstance(made.value, cst.Call) else None
        for index, role in enumerate(survey.results(made.scope, call) if call is not None else ()):
            if call is None or role != "optimizer" or _named_inside(survey, made.scope, call, index):
                continue
            target = made.targets[index] if len(made.targets) > index else made.targets[0]
            found.append(made._replace(targets=(target, *made.targets)))
            if last(dotted(call.func)) == "LBFGS":
                message = "LBFGS evaluates the loss itself, several times a step"
                raise Trouble(made.statement, "A008", message, "use another optimiser")
            if survey.trains(made.scope, call) == ["self"]:
                message = "this optimiser is made inside the model that it trains"
                advice = "make it where the model is made, from `model.parameters()`: both are prepared together"
                raise Trouble(made.statement, "A030", message, advice)
    if not found:
        nameless = [n for use in survey.calls if isinstance(n := use.node, cst.Call) and survey.makes_optimizer(n)]
        at = nameless[0] if nameless else survey.calls[0].node
        advice = "write `optimizer = torch.optim.…(model.parameters())` in this file: it must be prepared by its name"
        raise Trouble(at, "A006", "no optimiser of a known kind is made here and given a name", advice)
    return found


def _named_inside(survey: Survey, scope: str, call: cst.Call, index: int) -> bool:
    """Return whether a call's optimiser has a name already in the script's function that makes it."""
    function = survey.called(scope, dotted(call.func))
    every = [values for where, values in survey.returns if function is not None and where == function.name]
    return any(len(values) > index and bool(dotted(values[index])) for values in every)


def _blocks(survey: Survey, found: list[Assignment]) -> list[list[Assignment]]:
    """Return the optimisers where they end up, those of one block together."""
    homes: dict[Key, list[Assignment]] = {}
    for made in found:
        home = _home(survey, made)
        homes.setdefault(survey.key(home.scope, home.targets[0]), []).append(home)
    blocks: dict[cst.CSTNode, list[Assignment]] = {}
    for several in homes.values():
        body = several[0].body if len(several) == 1 else _common(survey, several)
        blocks.setdefault(body, []).extend(home._replace(body=body) for home in several)
    return list(blocks.values())


def _common(survey: Survey, several: list[Assignment]) -> cst.CSTNode:
    """Return the block around the branches of one `if` that make one optimiser in different ways."""
    around = [list(survey.above(made.statement)) for made in several]
    for branch in around[0]:
        if isinstance(branch, cst.For | cst.While | cst.FunctionDef):
            break
        if isinstance(branch, cst.If) and all(branch in nodes for nodes in around[1:]):
            blocks = {next(n for n in nodes if isinstance(n, cst.IndentedBlock)) for nodes in around}
            outermost = branch
            while isinstance(survey.parent(outermost), cst.If):  # an `elif`
                outermost = cst.ensure_type(survey.parent(outermost), cst.If)
            if len(blocks) == len(several):
                return survey.parent(outermost)
            break
    second = several[1]
    first = f"{second.targets[0]} (line {survey.line(several[0].statement)})"
    advice = "make it once, or in the branches of one `if`"
    raise Trouble(second.statement, "A007", f"the optimiser {first} is made again in another place", advice)


def _group(survey: Survey, flow: Flow, block: list[Assignment]) -> Group:
    """Find the models that the optimisers of a block train. Raises Trouble where that cannot be followed."""
    scope, models, optimizers = block[0].scope, list[str](), list[str]()
    for home in block:
        optimizers += [home.targets[0]] if home.targets[0] not in optimizers else []
        mine = survey.trains(scope, home.value) if isinstance(home.value, cst.Call) else []
        if not mine or any(not flow.survey.roles.get(survey.key(scope, name)) for name in mine):
            visible = [m for m in survey.assignments if m.scope == scope]
            mine = [t for m in visible for t in m.targets if t and survey.key(scope, t) in flow.trained]
            function = survey.functions.get(scope)
            mine += [n for n in (function.parameters if function else ()) if (scope, n) in flow.trained]
            copied = [alias(m.value) for m in visible if alias(m.value) in mine and m.targets[0] != alias(m.value)]
            mine = [name for name in mine if name not in copied]
        for name in mine:
            key, function = survey.key(scope, name), survey.functions.get(scope)
            here = key[0] == scope or name.startswith("self.")
            if not here:
                message = f"{name}, which this optimiser trains, belongs to what is around the function"
                advice = f"hand {name} to the function, or make the optimiser where {name} is made"
                raise Trouble(home.statement, "A009", message, advice)
            models += [name] if name not in models else []
    if not models:
        raise Trouble(
            block[0].statement,
            "A009",
            "the model that this optimiser trains cannot be found",
            "give it `model.parameters()` of a model made in the same function, or handed to it",
        )
    for name in models:
        for origin in flow.origins(scope, cst.parse_expression(name)):
            if origin.made is None and not origin.function:
                message = f"the model {name} comes from a caller that is not in this file"
                advice = "put what makes the model and calls this into the file: it is moved, saved and printed there"
                raise Trouble(block[0].statement, "A031", message, advice)
    final = max((_in_block(survey, home.statement, home.body) for home in block), key=survey.line)
    return Group(scope, block[0].body, final, tuple(optimizers), tuple(models))


def _in_block(survey: Survey, statement: cst.CSTNode, body: cst.CSTNode) -> cst.CSTNode:
    """Return the statement of a block that is, or holds, a statement."""
    for around in survey.above(statement):
        if around is body:
            return statement
        if isinstance(around, cst.BaseStatement):
            statement = around
    return statement


def _share(
    survey: Survey,
    flow: Flow,
    groups: list[Group],
    over: list[Use],
    training: list[Use],
    module: cst.Module,
    places: Places,
) -> set[Origin]:
    """Decide which loaders are shared by the processes, and place each loop over one. Raises Trouble where none fits."""
    origins: dict[cst.CSTNode, frozenset[Origin]] = {}
    for use in {*over, *training}:
        each = [flow.origins(scope, loader) for scope, loader in survey.taken(use)]
        origins[use.node] = frozenset(origin for part in each for origin in part) or frozenset([Origin("")])
    shares: set[Origin] = set()
    for use in training:
        for origin in origins[use.node]:
            if not _can_be_prepared(survey, groups, origin):
                at = use.node.iter if isinstance(use.node, cst.For) else use.node
                advice = "write `loader = DataLoader(…)` first: it must be prepared once, before the loop"
                raise Trouble(at, "A012", "the loader of this loop has no name", advice)
            shares.add(origin)
        branch = _sometimes(use) if len(origins[use.node]) > 1 else None
        if branch is not None:
            message = "this loop trains over one loader and evaluates over another: rows that fill the last batch would count twice"
            advice = "give the evaluation a loop of its own"
            raise Trouble(branch, "A036", message, advice)
    for use in survey.comprehensions:
        assert isinstance(use.node, cst.CompFor)
        each = [flow.origins(scope, loader) for scope, loader in survey.loaders(use.scope, use.node.iter)]
        origins[use.node] = frozenset(origin for part in each for origin in part)
    over = [*over, *(use for use in survey.comprehensions if origins[use.node])]
    judged = [use for use in over if use not in training and not _first(survey, groups, use, origins[use.node])]
    plain = {use.node: shared(flow, use, module.code) if isinstance(use.node, cst.For) else None for use in judged}
    alone = {o for use in judged if plain[use.node] is None for o in origins[use.node]} - shares
    alone |= {o for use in judged for o in origins[use.node] if not _can_be_prepared(survey, groups, o)}
    size = -1
    while len(alone) != size:  # a loop goes over all its loaders in the same way
        size = len(alone)
        alone |= {o for use in judged if origins[use.node] & alone for o in origins[use.node]} - shares
    for use in [*training, *judged]:
        if isinstance(use.node, cst.While):
            continue
        found, gather = origins[use.node], plain.get(use.node)
        if use in judged and (gather is None or found & alone):
            if found & shares:
                message = "this evaluation goes over a loader that is shared by the processes, and is not plain enough to gather"
                advice = (
                    "give it a DataLoader of its own, or write `output = model(…)` once in the loop, and count after it"
                )
                raise Trouble(use.node, "A010", message, advice)
            asked = calls(use.node.body if isinstance(use.node, cst.For) else survey.parent(use.node))
            if survey.asks_model(use) or any(flow.is_trained(use.scope, call.func) for call in asked):
                note = f"line {survey.line(use.node)}: every process evaluates all of it, for it is not plain enough to share"
                places.notes.append(note)
            continue
        shares |= found
        if not isinstance(use.node, cst.For):
            continue
        places.batches[use.node] = frozenset(names(batch_target(flow, use)[0]))
        if gather is not None:
            places.gather[gather[0]] = gather[1]
    return shares


def _sometimes(use: Use) -> cst.CSTNode | None:
    """Return the branch in which a loop goes backward, if it may do without."""

    def inside(node: cst.CSTNode) -> cst.CSTNode | None:
        if isinstance(node, cst.If) and node.orelse is None and ".backward(" in code(node.body):
            return node.test
        return next((found for child in node.children if (found := inside(child)) is not None), None)

    zipped = isinstance(use.node, cst.For) and "zip(" in code(use.node.iter)
    return None if zipped or "next(" in code(use.node) else inside(use.node)


def _can_be_prepared(survey: Survey, groups: list[Group], origin: Origin) -> bool:
    if origin.made is None:
        return any(group.scope == origin.function != "" for group in groups)
    returned = {dotted(v) for where, values in survey.returns if where == origin.made.scope for v in values}
    return origin.name not in returned


def _first(survey: Survey, groups: list[Group], use: Use, origins: frozenset[Origin]) -> bool:
    """Return whether a loop stands before everything is prepared and asks no model: it goes over the loader as it was."""
    return not survey.asks_model(use) and all(
        origin.made is not None
        and any(
            group.body is origin.made.body
            and use.scope == group.scope
            and survey.line(use.node) < survey.line(group.last)
            for group in groups
        )
        for origin in origins
    )


def _prepare(
    survey: Survey, flow: Flow, group: Group, shares: set[Origin], training: list[Use], places: Places
) -> None:
    """Put what trains together into one `prepare`, after the last statement that makes a part of it."""
    body: Sequence[cst.CSTNode] = getattr(group.body, "body", ())
    start = survey.line(group.last)
    until = next((survey.line(s) for s in body if survey.line(s) > start and survey.loops_in(group.scope, s)), 1 << 30)
    loaders, schedulers, final = list[str](), list[str](), group.last
    for made in survey.assignments:
        if made.body is not group.body or survey.line(made.statement) >= until:
            continue
        for target in made.targets:
            role = survey.roles.get(survey.key(made.scope, target), "") if target else ""
            mine = (
                role == "loader"
                and Origin(target, made) in shares
                and not _used_between(survey, group, made)
                and not counted_by_hand(flow, made, target)
            )
            if mine and target not in loaders:
                loaders.append(target)
                final = max(final, made.statement, key=survey.line)
                shares.discard(Origin(target, made))
    late = survey.line(final)
    for made in survey.assignments:
        if made.body is not group.body or survey.line(made.statement) >= until:
            continue
        for target in made.targets:
            role = survey.roles.get(survey.key(made.scope, target), "") if target else ""
            if (
                role != "scheduler"
                or target in schedulers
                or not _each_step(survey, flow, training, made.scope, target)
            ):
                continue
            if counts_rows_of_all(flow, made, {(group.scope, name) for name in loaders}, late):
                schedulers.append(target)
                final = max(final, made.statement, key=survey.line)
    function = survey.functions.get(group.scope)
    for name in reversed(function.parameters if function is not None else ()):
        if Origin(name, function=group.scope) in shares:
            shares.discard(Origin(name, function=group.scope))
            kept = [m.targets[0] for m in survey.assignments if m.body is group.body and alias(m.value) == name]
            loaders.insert(0, kept[0] if kept else name)
            for m in survey.assignments:
                if m.body is group.body and alias(m.value) == name:
                    final = max(final, m.statement, key=survey.line)
    places.prepare.setdefault(final, []).append((*group.models, *group.optimizers, *loaders, *schedulers))
    places.homes[group.scope] = min(places.homes.get(group.scope, 1 << 30), survey.line(final))
    for name in group.models:
        if not _asked_between(survey, group, name, final):
            places.models.add(survey.key(group.scope, name))


def _home(survey: Survey, made: Assignment) -> Assignment:
    """Follow the optimiser out of the functions that return it, to where it stays."""
    for _step in range(len(survey.functions) + 1):
        returned = [
            where
            for where, values in survey.returns
            for v in values
            if where == made.scope and dotted(v) == made.targets[0]
        ]
        outer = [
            other
            for other in survey.assignments
            if isinstance(other.value, cst.Call)
            and (called := survey.called(other.scope, dotted(other.value.func))) is not None
            and called.name == made.scope
        ]
        if not returned or not outer:
            return made
        if len(outer) > 1:
            raise Trouble(
                outer[1].statement, "A007", f"{made.scope} makes the optimiser more than once", "call it once"
            )
        index = next(
            i
            for i, target in enumerate(outer[0].targets)
            if survey.role(outer[0].scope, cst.parse_expression(target)) == "optimizer"
        )
        made = outer[0]._replace(targets=(outer[0].targets[index], *outer[0].targets))
    return made


def _used_between(survey: Survey, group: Group, made: Assignment) -> bool:
    """Return whether a loop may go over a loader before the others are prepared: then it is prepared by itself."""
    first, end = survey.line(made.statement), survey.line(group.last)
    body: Sequence[cst.CSTNode] = getattr(group.body, "body", ())
    return any(first < survey.line(s) <= end and survey.loops_in(group.scope, s) for s in body)


def _asked_between(survey: Survey, group: Group, name: str, final: cst.CSTNode) -> bool:
    """Return whether a model may be asked something before it is prepared: then it has to be on its device by then."""
    key, body = survey.key(group.scope, name), getattr(group.body, "body", ())
    for statement in body:
        if survey.line(statement) > survey.line(final):
            break
        for call in calls(statement):
            if survey.makes_optimizer(call) or (not survey.loops_in(group.scope, statement) and alias(call)):
                continue
            asked = [call.func, *(a.value for a in call.args)]
            if any(dotted(n) and survey.key(group.scope, dotted(n)) == key for n in asked):
                role = survey.role(group.scope, call)
                if role not in ("optimizer", "scheduler", "model"):
                    return True
    return False


def _each_step(survey: Survey, flow: Flow, training: list[Use], scope: str, name: str) -> bool:
    """Return whether a schedule goes on with every batch: then it counts the batches of all processes."""
    for use in survey.calls:
        stepped = owner(use, "step")
        if stepped is None or survey.role(use.scope, stepped) != "scheduler":
            continue
        if not any(
            o.made is not None and o.name == name and o.made.scope == scope for o in flow.origins(use.scope, stepped)
        ):
            continue
        inside = {loop.node for loop in training}
        if any(node in inside for node in survey.above(use.node)):
            return True
        function = survey.functions.get(use.scope)
        for loop in training if function is not None else ():
            reached = [survey.called(loop.scope, dotted(call.func)) for call in calls(loop.node)]
            if function in reached:
                return True
    return False


def _other_loaders(shares: set[Origin], places: Places) -> None:
    """Prepare each loader that is in no group right after it is made."""
    every = {origin.made for origin in shares if origin.made is not None}
    for made in sorted(every, key=lambda made: made.targets):
        mine = {origin.name for origin in shares if origin.made is made}
        held = tuple(name for name in made.targets if name in mine)
        places.prepare.setdefault(made.statement, []).append(held)
