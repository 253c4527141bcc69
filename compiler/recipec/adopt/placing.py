"""Where each line goes: what is prepared where, which loops evaluate, and why a script cannot be adopted."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import libcst as cst

from recipec.adopt.survey import Assignment, Survey, Use, calls, dotted, last, names, trained

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


class Trouble(Exception):
    """Why a script cannot be adopted: the node to blame, the code and words of the finding, and what to do."""

    def __init__(self, node: cst.CSTNode, code: str, message: str, advice: str) -> None:
        super().__init__(message)
        self.node, self.code, self.message, self.advice = node, code, message, advice


class Gather(NamedTuple):
    """After a forward pass of an evaluation: the names to gather, or the one loss to average over the processes."""

    names: tuple[str, ...] = ()
    loss: str = ""


class Places(NamedTuple):
    """What goes where: statements by the node that they follow, and the loops by what they do."""

    prepare: dict[cst.CSTNode, list[tuple[str, ...]]]  # after this statement, prepare these names
    gather: dict[cst.CSTNode, Gather]  # after this statement of an evaluation
    batches: dict[cst.CSTNode, frozenset[str]]  # loop -> names that hold its batches
    notes: list[str]


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
    optimizer = _optimizer(survey)
    places = Places({}, {}, {}, [])
    _prepare(survey, optimizer, training, places)
    for use in over:
        assert isinstance(use.node, cst.For)
        if not dotted(_loader(use.node)):
            advice = "write `loader = DataLoader(…)` first: it must be prepared once, before the loop"
            raise Trouble(use.node.iter, "A012", "the loader of this loop has no name", advice)
        places.batches[use.node] = frozenset(names(_target(survey, use)))
        if use not in training:
            found = _gather(survey, use)
            if found is not None:
                places.gather[found[0]] = found[1]
    _notes(survey, places)
    return places


def _loader(node: cst.For) -> cst.BaseExpression:
    """Return what a loop goes over, without the `enumerate` and `tqdm` around it."""
    over = node.iter
    while isinstance(over, cst.Call) and over.args and last(dotted(over.func)) in ("enumerate", "tqdm"):
        over = over.args[0].value
    return over


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


def _optimizer(survey: Survey) -> Assignment:
    """Return the one statement that makes the optimiser. Raises Trouble when there are none or several."""
    found: list[Assignment] = []
    for made in survey.assignments:
        call = made.value if isinstance(made.value, cst.Call) else None
        if (
            call
            and survey.results(made.scope, call) == ("optimizer",)
            and not survey.called(made.scope, dotted(call.func))
        ):
            found.append(made)
    if not found:
        raise Trouble(
            survey.calls[0].node,
            "A006",
            "no optimiser of a known kind is made here",
            "make a torch.optim optimiser in this file",
        )
    if len({survey.key(made.scope, made.targets[0]) for made in found}) > 1:
        first, second = found[0], found[1]
        message = f"there are several optimisers: {first.targets[0]} (line {survey.line(first.statement)}) and {second.targets[0]}"
        raise Trouble(
            second.statement,
            "A007",
            message,
            "which model each trains is not for a tool to guess: prepare them by hand",
        )
    if len(found) > 1:
        raise Trouble(
            found[1].statement, "A007", "the optimiser is made in several places", "choose its class in one expression"
        )
    if isinstance(found[0].value, cst.Call) and last(dotted(found[0].value.func)) == "LBFGS":
        raise Trouble(
            found[0].statement, "A008", "LBFGS evaluates the loss itself, several times a step", "use another optimiser"
        )
    return found[0]


def _prepare(survey: Survey, optimizer: Assignment, training: list[Use], places: Places) -> None:
    """Put what trains together into one `prepare`, where the optimiser ends up; other loaders each after itself."""
    home = _home(survey, optimizer)
    direct = [made for made in survey.assignments if made.body is home.body]
    before = _before_training(survey, home)
    held: dict[str, list[str]] = {"model": [], "optimizer": [], "loader": [], "scheduler": []}
    final = home.statement
    for made in direct:
        for target in made.targets:
            role = survey.roles.get(survey.key(made.scope, target), "")
            if role in held and target and target not in held[role] and before(made.statement):
                if role == "scheduler" and not _each_step(survey, training):
                    continue
                held[role].append(target)
                final = _later(survey, final, made.statement)
    function = survey.functions.get(home.scope)
    for name in function.parameters if function is not None else ():
        role = survey.roles.get((home.scope, name), "")
        if role in ("model", "loader") and name not in held[role]:
            copied = any(dotted(made.value) == name and survey.role(home.scope, made.value) == role for made in direct)
            if not copied and not (role == "model" and held[role]):
                held[role].insert(0, name)
    mine = trained(home.value.args) if isinstance(home.value, cst.Call) else []
    if mine and set(mine) <= set(held["model"]):
        held["model"] = mine
    if not held["model"]:
        raise Trouble(
            optimizer.statement,
            "A009",
            "the model that this optimiser trains cannot be found",
            "give it `model.parameters()` of a model made in the same function, or handed to it",
        )
    places.prepare.setdefault(final, []).append(tuple(name for group in held.values() for name in group))
    _other_loaders(survey, home, set(held["loader"]), places)


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


def _later(survey: Survey, one: cst.SimpleStatementLine, other: cst.SimpleStatementLine) -> cst.SimpleStatementLine:
    return other if survey.line(other) > survey.line(one) else one


def _before_training(survey: Survey, home: Assignment) -> Callable[[cst.CSTNode], bool]:
    """Return whether a statement of the optimiser's block comes before the one that trains."""
    body = getattr(home.body, "body", ())
    first = next(
        (s for s in body if survey.line(s) > survey.line(home.statement) and survey.learns(home.scope, s)), None
    )
    limit = survey.line(first) if first is not None else 1 << 30
    return lambda statement: survey.line(statement) < limit


def _each_step(survey: Survey, training: list[Use]) -> bool:
    """Return whether a schedule goes on with every batch: then it counts the batches of all processes."""
    for use in survey.calls:
        stepped = _owner(use, "step")
        if stepped is not None and survey.role(use.scope, stepped) == "scheduler":
            inside = {loop.node for loop in training}
            if any(node in inside for node in survey.above(use.node)):
                return True
            function = survey.functions.get(use.scope)
            for loop in training if function is not None else ():
                reached = [survey.called(loop.scope, dotted(call.func)) for call in calls(loop.node)]
                if function in reached:
                    return True
    return False


def _other_loaders(survey: Survey, home: Assignment, done: set[str], places: Places) -> None:
    for made in survey.assignments:
        returned = {dotted(v) for where, values in survey.returns if where == made.scope for v in values}
        here = made.body is home.body
        wanted = [
            name
            for name in made.targets
            if name
            and survey.roles.get(survey.key(made.scope, name)) == "loader"
            and not (here and name in done)
            and name not in returned
            and not dotted(made.value)
            and not _handed(survey, made, name, home, done)
        ]
        if wanted:
            places.prepare.setdefault(made.statement, []).append(tuple(wanted))


def _handed(survey: Survey, made: Assignment, name: str, home: Assignment, done: set[str]) -> bool:
    """Return whether a loader is handed to the function that prepares it, as one of its parameters."""
    for use in survey.calls:
        assert isinstance(use.node, cst.Call)
        function = survey.called(use.scope, dotted(use.node.func))
        if function is None or function.name != home.scope or use.scope != made.scope:
            continue
        for index, argument in enumerate(use.node.args):
            place = (
                argument.keyword.value
                if argument.keyword
                else function.parameters[index]
                if index < len(function.parameters)
                else ""
            )
            kept = [m.targets[0] for m in survey.assignments if m.body is home.body and dotted(m.value) == place]
            if dotted(argument.value) == name and (place in done or any(k in done for k in kept)):
                return True
    return False


def _target(survey: Survey, use: Use) -> cst.CSTNode:
    """Return what holds the batch in a loop: of `for i, batch in enumerate(loader)` the second."""
    assert isinstance(use.node, cst.For)
    target, over = use.node.target, use.node.iter
    while isinstance(over, cst.Call) and over.args and last(dotted(over.func)) == "tqdm":
        over = over.args[0].value
    counted = isinstance(over, cst.Call) and last(dotted(over.func)) == "enumerate"
    if isinstance(over, cst.Name):
        sources = [m.value for m in survey.assignments if over.value in m.targets and m.scope == use.scope]
        counted = any("enumerate(" in cst.Module([]).code_for_node(value) for value in sources)
    return target.elements[1].value if counted and isinstance(target, cst.Tuple) else target


def _gather(survey: Survey, use: Use) -> tuple[cst.CSTNode, Gather] | None:
    """Return what a loop that evaluates must gather, and after which statement; None where no model is asked."""
    assert isinstance(use.node, cst.For)
    asked = [call for call in calls(use.node.body) if survey.role(use.scope, call.func) == "model"]
    asked += [
        call
        for call in calls(use.node.body)
        if isinstance(call.func, cst.Attribute) and call.func.attr.value == "generate"
    ]
    if not asked:
        for call in calls(use.node.body):
            if any(survey.role(use.scope, argument.value) == "model" for argument in call.args):
                advice = "call the model in the loop itself, and give its output a name"
                raise Trouble(call, "A010", "what this evaluates cannot be followed", advice)
        return None
    statement = next((node for node in survey.above(asked[0]) if isinstance(node, cst.SimpleStatementLine)), None)
    made = next(
        (m for m in survey.assignments if m.statement is statement and len(m.targets) == 1 and m.targets[0]), None
    )
    if statement is None or made is None:
        advice = "write `output = model(…)` first: what every process found must be gathered"
        raise Trouble(asked[0], "A010", "the model's output in this evaluation has no name", advice)
    output = made.targets[0]
    after = list(_following(survey, statement))
    read = {name for s in after for name in names(s)} & set(names(_target(survey, use)))
    value = cst.Module([]).code_for_node(made.value)
    if value.endswith(".loss"):
        return statement, Gather(loss=output)
    if any(f"{output}.loss" in cst.Module([]).code_for_node(s) for s in after):
        return statement, Gather(loss=f"{output}.loss")
    return statement, Gather((output, *sorted(read)))


def _following(survey: Survey, statement: cst.CSTNode) -> Iterator[cst.CSTNode]:
    """Yield the statements after one, up to the end of the loop around it."""
    node = statement
    for around in survey.above(statement):
        if isinstance(around, cst.IndentedBlock):
            yield from (s for s in around.body if survey.line(s) > survey.line(statement) and s is not node)
        if isinstance(around, cst.For):
            return
        node = around


def _notes(survey: Survey, places: Places) -> None:
    places.notes.append("every process takes batches of its own: the sequences of a step are batch size × processes")
    if any(gather.loss for gather in places.gather.values()):
        places.notes.append("losses of an evaluation are averaged over processes: exact where every batch is full")
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
