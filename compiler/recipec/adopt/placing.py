"""Where each line goes: what is prepared where, which loops evaluate, and why a script cannot be adopted."""

from collections.abc import Sequence
from typing import NamedTuple

import libcst as cst

from recipec.adopt.evaluation import Gather, batch_target, shared
from recipec.adopt.flow import Flow, Origin, alias
from recipec.adopt.survey import Assignment, Key, Survey, Use
from recipec.adopt.training import refuse_hidden_forward, refuse_parting, settings, summed_losses, totals
from recipec.adopt.tree import calls, dotted, last, names
from recipec.adopt.trouble import Trouble

# What makes a script one of several processes already, and what to do with it instead.
LAUNCHED = "it runs on several GPUs as it is: start it by a recipe with trainer: script"
ALREADY = {
    "lightning": ("a Lightning script is distributed by its Trainer", LAUNCHED),
    "pytorch_lightning": ("a Lightning script is distributed by its Trainer", LAUNCHED),
    "transformers.Trainer": ("the Hugging Face Trainer is distributed already", LAUNCHED),
    "transformers.Seq2SeqTrainer": ("the Hugging Face Trainer is distributed already", LAUNCHED),
    "trl": ("TRL's trainers are distributed already", LAUNCHED),
    "deepspeed": ("DeepSpeed distributes this script already", f"{LAUNCHED}, launcher: deepspeed"),
    "fastai": ("fastai's Learner hides its loop", "use Learner.to_distributed"),
    "ignite": ("Ignite's Engine hides its loop", "use ignite.distributed"),
}
BY_HAND = {
    "DistributedDataParallel": "is distributed by hand already",
    "init_process_group": "is distributed by hand already",
    "DistributedSampler": "shares its data by hand already",
    "FullyShardedDataParallel": "is sharded by hand already",
    "fully_shard": "is sharded by hand already",
    "DataParallel": "uses torch.nn.DataParallel, which is one process with several GPUs",
}


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


def refuse_distributed(survey: Survey) -> None:
    """Raise Trouble where the script is distributed already, or bound to one GPU."""
    for name, statement in survey.imports.items():
        for known, (message, advice) in ALREADY.items():
            if name == known or name.startswith(known + ".") or (known == "trl" and name.startswith("trl")):
                raise Trouble(statement, "A003", message, advice)
    for use in survey.calls:
        assert isinstance(use.node, cst.Call)
        called = last(dotted(use.node.func))
        if called in BY_HAND or dotted(use.node.func) in ("DDP", "FSDP"):
            what = BY_HAND.get(called, "is distributed by hand already")
            advice = "take these lines out first: Accelerate does their work"
            raise Trouble(use.node, "A004", f"the script {what}", advice)
        if called == "set_device":
            raise Trouble(use.node, "A005", "the script binds itself to one GPU", "drop the line: Accelerate chooses")
        if called == "spawn" or (
            called == "Process" and any(a.keyword and a.keyword.value == "target" for a in use.node.args)
        ):
            advice = "take these lines out and call the function itself: the launcher starts the processes"
            raise Trouble(use.node, "A004", "the script starts processes of its own", advice)
    code = cst.Module([]).code_for_node
    for made in survey.assignments:
        if "CUDA_VISIBLE_DEVICES" in code(made.statement).partition("=")[0]:
            advice = "drop the line: the launcher gives each process its GPU"
            raise Trouble(made.statement, "A005", "the script binds itself to one GPU", advice)


def place(survey: Survey, module: cst.Module) -> Places:
    """Find the place of everything. Raises Trouble with the place to blame where something cannot be found."""
    refuse_distributed(survey)
    backward = [use for use in survey.calls if _owner(use, "backward") is not None]
    if not backward:
        raise Trouble(
            module, "A001", "there is no training loop here", "no line calls `.backward()`: name the file that does"
        )
    over = [use for use in survey.loops if survey.over_loader(use)]
    training = [use for use in over if survey.learns(use.scope, use.node)]
    if not training:
        _no_loop(survey, backward[0])
    flow = Flow(survey)
    text = module.code
    refuse_hidden_forward(flow, training)
    reduced = totals(flow, training)
    refuse_parting(flow, training, reduced)
    places = Places({}, {}, {}, set(), {}, [], flow, summed_losses(flow), reduced, settings(flow, training, text))
    groups = [_group(survey, flow, block) for block in _blocks(survey, _optimizers(survey))]
    shared_out = _share(survey, flow, groups, over, training, module, places)
    for group in groups:
        _prepare(survey, flow, group, shared_out, training, places)
    _other_loaders(shared_out, places)
    _notes(survey, places)
    return places


def _owner(use: Use, method: str) -> cst.BaseExpression | None:
    """Return what a method is called on; None where something else is used."""
    function = use.node.func if isinstance(use.node, cst.Call) else None
    return function.value if isinstance(function, cst.Attribute) and function.attr.value == method else None


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
        if (
            call
            and survey.results(made.scope, call) == ("optimizer",)
            and not survey.called(made.scope, dotted(call.func))
        ):
            if last(dotted(call.func)) == "LBFGS":
                message = "LBFGS evaluates the loss itself, several times a step"
                raise Trouble(made.statement, "A008", message, "use another optimiser")
            if survey.trains(made.scope, call) == ["self"]:
                message = "this optimiser is made inside the model that it trains"
                advice = "make it where the model is made, from `model.parameters()`: both are prepared together"
                raise Trouble(made.statement, "A030", message, advice)
            found.append(made)
    if not found:
        nameless = [n for use in survey.calls if isinstance(n := use.node, cst.Call) and survey.makes_optimizer(n)]
        at = nameless[0] if nameless else survey.calls[0].node
        advice = "write `optimizer = torch.optim.…(model.parameters())` in this file: it must be prepared by its name"
        raise Trouble(at, "A006", "no optimiser of a known kind is made here and given a name", advice)
    return found


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
        mine = (
            survey.trains(scope, home.value)
            if isinstance(home.value, cst.Call) and survey.makes_optimizer(home.value)
            else []
        )
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
    for use in over:
        assert isinstance(use.node, cst.For)
        each = [flow.origins(scope, loader) for scope, loader in survey.loaders(use.scope, use.node.iter)]
        origins[use.node] = frozenset(origin for part in each for origin in part) or frozenset([Origin("")])
    shares: set[Origin] = set()
    for use in training:
        assert isinstance(use.node, cst.For)
        for origin in origins[use.node]:
            if not _can_be_prepared(survey, groups, origin):
                advice = "write `loader = DataLoader(…)` first: it must be prepared once, before the loop"
                raise Trouble(use.node.iter, "A012", "the loader of this loop has no name", advice)
            shares.add(origin)
    judged = [use for use in over if use not in training and not _first(survey, groups, use, origins[use.node])]
    plain = {use.node: shared(flow, use, module.code) for use in judged}
    alone = {o for use in judged if plain[use.node] is None for o in origins[use.node]} - shares
    alone |= {o for use in judged for o in origins[use.node] if not _can_be_prepared(survey, groups, o)}
    size = -1
    while len(alone) != size:  # a loop goes over all its loaders in the same way
        size = len(alone)
        alone |= {o for use in judged if origins[use.node] & alone for o in origins[use.node]} - shares
    for use in [*training, *judged]:
        assert isinstance(use.node, cst.For)
        found, gather = origins[use.node], plain.get(use.node)
        if use in judged and (gather is None or found & alone):
            if found & shares:
                message = "this evaluation goes over a loader that is shared by the processes, and is not plain enough to gather"
                advice = (
                    "give it a DataLoader of its own, or write `output = model(…)` once in the loop, and count after it"
                )
                raise Trouble(use.node, "A010", message, advice)
            if any(flow.is_trained(use.scope, call.func) for call in calls(use.node.body)) or survey.hands_model(use):
                note = f"line {survey.line(use.node)}: every process evaluates all of it, for it is not plain enough to share"
                places.notes.append(note)
            continue
        shares |= found
        places.batches[use.node] = frozenset(names(batch_target(flow, use)[0]))
        if gather is not None:
            places.gather[gather[0]] = gather[1]
    return shares


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
            mine = role == "loader" and Origin(target, made) in shares and not _used_between(survey, group, made)
            if (mine and target not in loaders) or (
                role == "scheduler"
                and target not in schedulers
                and _each_step(survey, flow, training, made.scope, target)
            ):
                (loaders if role == "loader" else schedulers).append(target)
                final = max(final, made.statement, key=survey.line)
                if role == "loader":
                    shares.discard(Origin(target, made))
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
        stepped = _owner(use, "step")
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


def _notes(survey: Survey, places: Places) -> None:
    places.notes.insert(0, "every process takes batches of its own: the sequences of a step are batch size × processes")
    for use in survey.calls:
        if (
            any(
                isinstance(n, cst.If)
                and isinstance(n.test, cst.Comparison)
                and "%" in cst.Module([]).code_for_node(n.test)
                for n in survey.above(use.node)
            )
            and _owner(use, "step") is not None
        ):
            places.notes.append(
                "gradients are accumulated by hand, which is right with ddp; DeepSpeed would step at every batch"
            )
            break
