"""What else a loop that trains needs so that several processes do what one did: its sums, its losses, its decisions."""

import re
from collections.abc import Iterator

import libcst as cst

from recipec.adopt.evaluation import batch_target
from recipec.adopt.flow import Flow
from recipec.adopt.losses import MEAN, MIXED, SUM, UNKNOWN, Losses
from recipec.adopt.survey import Survey, Update, Use
from recipec.adopt.tree import calls, dotted, last, names, paths
from recipec.adopt.trouble import Trouble

NUMBER = re.compile(r"\.item\(\)|\bfloat\(|\bint\(|\blen\(|\.size\(|\.shape\[|\.numel\(")
HARMLESS = frozenset(  # methods of a model that do not run its layers for the loss
    [
        *("train", "eval", "parameters", "named_parameters", "state_dict", "load_state_dict", "zero_grad", "to", "cuda"),
        *("cpu", "apply", "children", "modules", "named_modules", "requires_grad_", "save_pretrained", "init_hidden"),
        *("buffers", "named_buffers", "named_children", "register_forward_hook", "register_buffer", "half", "float"),
        *("gradient_checkpointing_enable", "print_trainable_parameters", "share_memory"),
    ]
)  # fmt: skip


def code(node: cst.CSTNode) -> str:
    """Return a node as text."""
    return cst.Module([]).code_for_node(node)


def summed_losses(flow: Flow) -> set[cst.CSTNode]:
    """Return the calls of `backward` whose loss is a sum over the batch. Raises Trouble where it is one in part."""
    losses, found = Losses(flow), set[cst.CSTNode]()
    for use in flow.survey.calls:
        call = use.node
        if not (
            isinstance(call, cst.Call) and isinstance(call.func, cst.Attribute) and call.func.attr.value == "backward"
        ):
            continue
        loss: cst.BaseExpression = call.func.value
        if (
            isinstance(loss, cst.Call)
            and flow.survey.role(use.scope, getattr(loss.func, "value", loss.func)) == "scaler"
        ):
            loss = loss.args[0].value
        kind = losses.kind(use.scope, loss)
        if kind == MIXED:
            message = "one part of this loss is a sum over the batch, another a mean: they would be weighed otherwise on several GPUs"
            advice = "write both as means, or both as sums: gradients are averaged over processes"
            raise Trouble(call, "A032", message, advice)
        if kind == SUM:
            found.add(call)
    return found


def totals(flow: Flow, training: list[Use]) -> dict[cst.CSTNode, list[str]]:
    """Return what to add after each loop that trains, so that what it added up is of all processes."""
    survey, losses = flow.survey, Losses(flow)
    loops = {use.node for use in training}
    found: dict[cst.CSTNode, list[str]] = {}
    for use in training:
        for name in dict.fromkeys(u.name for u in survey.updates if u.name):
            mine = [
                u
                for u in survey.updates
                if u.name == name and u.scope == use.scope and _around(flow, u, loops) is use.node
            ]
            if not mine or not _begins_at(survey, use, name) or not _read_after(survey, use, name):
                continue
            kinds = {losses.kind(u.scope, u.value) for u in mine}
            if kinds == {UNKNOWN} and _by_batches(survey, use, name):
                kinds = {MEAN}
            if kinds not in ({SUM}, {MEAN}):
                if len(kinds) == 1 and _by_rows(survey, use, name) and "constant" not in kinds:
                    message = f"{name} is added up by each process and then divided by all rows"
                    advice = (
                        f"say what is added: `{name} += loss.item() * len(batch)`, or divide by a count of this loop"
                    )
                    raise Trouble(mine[0].statement, "A033", message, advice)
                continue
            how = "sum" if kinds == {SUM} else "mean"
            number = all(NUMBER.search(code(u.value)) for u in mine)
            text = f'{name} = accelerator.reduce(torch.as_tensor({name}, device=accelerator.device), "{how}")'
            found.setdefault(use.node, []).append(f"{text}.item()" if number else text)
    return found


def _around(flow: Flow, update: Update, loops: set[cst.CSTNode]) -> cst.CSTNode | None:
    """Return the training loop around an update, if no evaluation stands between."""
    for node in flow.survey.above(update.statement):
        if node in loops:
            return node
        if isinstance(node, cst.For) and flow.survey.over_loader(Use(update.scope, node)):
            return None
    return None


def _begins_at(survey: Survey, use: Use, name: str) -> bool:
    """Return whether a name is set to its first value right before a loop, in the same block, and not again in it."""
    block = survey.parent(use.node)
    made = [m for m in survey.assignments if m.scope == use.scope and name in m.targets]
    inside = [m for m in made if use.node in survey.above(m.statement)]
    before = [m for m in made if m.body is block and survey.line(m.statement) < survey.line(use.node)]
    return bool(before) and not inside


def _after(survey: Survey, use: Use) -> Iterator[cst.CSTNode]:
    """Yield the statements after a loop, to the end of its block."""
    block = survey.parent(use.node)
    statements = getattr(block, "body", ())
    yield from (s for s in statements if survey.line(s) > survey.line(use.node))


def _read_after(survey: Survey, use: Use, name: str) -> bool:
    return name.startswith("self.") or any(name in paths(s) or name in names(s) for s in _after(survey, use))


def _by_rows(survey: Survey, use: Use, name: str) -> bool:
    """Return whether what a loop added up is divided by the length of a data set afterwards."""
    pattern = re.compile(rf"{re.escape(name)}\s*/=?\s*(float\()?len\((?P<of>[^)]*)\)")
    for statement in _after(survey, use):
        for match in pattern.finditer(code(statement)):
            of = match["of"]
            if ".dataset" in of or survey.role(use.scope, cst.parse_expression(of)) != "loader":
                return True
    return False


def _by_batches(survey: Survey, use: Use, name: str) -> bool:
    """Return whether what a loop added up is divided by the number of its batches afterwards."""
    pattern = re.compile(rf"{re.escape(name)}\s*/=?\s*len\((?P<of>[\w.]+)\)")
    found = (match for statement in _after(survey, use) for match in pattern.finditer(code(statement)))
    return any(survey.role(use.scope, cst.parse_expression(match["of"])) == "loader" for match in found)


def of_one_process(flow: Flow, training: list[Use], reduced: dict[cst.CSTNode, list[str]]) -> dict[str, set[str]]:
    """Return, for each function, the names that hold what only this process saw of the training."""
    survey, found = flow.survey, dict[str, set[str]]()
    for use in training:
        assert isinstance(use.node, cst.For | cst.While)
        done = {line.partition(" ")[0] for line in reduced.get(use.node, ())}
        held = found.setdefault(use.scope, set())
        batch = names(batch_target(flow, use)[0]) if isinstance(use.node, cst.For) else set[str]()
        for made in survey.assignments:
            if made.scope == use.scope and use.node in survey.above(made.statement) and not _counts(made.value):
                held |= {t for t in made.targets if t} - {"_"}
        for update in survey.updates:
            if (
                update.scope == use.scope
                and use.node in survey.above(update.statement)
                and not isinstance(update.value, cst.Integer)
            ):
                held |= {update.name}
        for call in calls(use.node.body):
            kept = isinstance(call.func, cst.Attribute) and call.func.attr.value in (
                "append",
                "update",
                "add",
                "extend",
            )
            if kept and isinstance(call.func, cst.Attribute) and names(call) & (held | batch):
                held |= {dotted(call.func.value)} - {""}
        held -= done
    size = -1
    while size != sum(map(len, found.values())):
        size = sum(map(len, found.values()))
        for made in survey.assignments:
            held = found.setdefault(made.scope, set())
            if paths_or_names(made.value) & held and not _counts(made.value):
                held |= {t for t in made.targets if t}
            function = survey.called(made.scope, dotted(made.value.func)) if isinstance(made.value, cst.Call) else None
            for where, values in survey.returns if function is not None else ():
                if function is not None and where == function.name:
                    inner = found.get(where, set())
                    for index, value in enumerate(values):
                        if paths_or_names(value) & inner and not _counts(value):
                            held |= set(
                                made.targets if len(made.targets) != len(values) else made.targets[index : index + 1]
                            )
    return found


def paths_or_names(node: cst.CSTNode) -> set[str]:
    """Return every name in a node, with and without its attributes."""
    return paths(node) | names(node) | {path.rpartition(".")[0] for path in paths(node)}


def _counts(node: cst.BaseExpression) -> bool:
    """Return whether a value is the same in every process: a constant, a length, a time, or made of no names."""
    text = code(node)
    return not names(node) or bool(re.match(r"(len\(|time\.|.*\.size\(|.*\.shape\b)", text)) or text in ("None", "True")


def refuse_parting(flow: Flow, training: list[Use], reduced: dict[cst.CSTNode, list[str]]) -> None:
    """Raise Trouble where processes would decide differently: end at different batches, or use other learning rates."""
    survey = flow.survey
    held = of_one_process(flow, training, reduced)
    loops = {use.node for use in training}
    for use in survey.calls:
        call = use.node
        if not (isinstance(call, cst.Call) and isinstance(call.func, cst.Attribute) and call.func.attr.value == "step"):
            continue
        if survey.role(use.scope, call.func.value) != "scheduler" or not call.args:
            continue
        made = [o.made.value for o in flow.origins(use.scope, call.func.value) if o.made is not None]
        plateau = any("Plateau" in code(value) for value in made)
        if plateau and any(paths_or_names(a.value) & held.get(use.scope, set()) for a in call.args):
            message = "this schedule follows a number that each process has its own of: their learning rates would part"
            advice = "give it what an evaluation found, or a loss added up over the loop with `total += loss.item()`"
            raise Trouble(call, "A034", message, advice)
    for branch in survey.branches:
        node, scope = branch.node, branch.scope
        assert isinstance(node, cst.If)
        inside = [around for around in survey.above(node) if around in loops or _holds(survey, scope, around)]
        if not inside or not _ends(node):
            continue
        test = names(node.test) | paths(node.test)
        batch = {
            n
            for use in training
            if use.node in inside and use.scope == scope and isinstance(use.node, cst.For)
            for n in names(batch_target(flow, use)[0])
        }
        if re.search(r"\blen\(|\.size\(|\.shape\b", code(node.test)):
            batch = set[str]()
        if test & (held.get(scope, set()) | batch):
            message = "processes would decide this differently, each by its own batches, and then wait for one another"
            advice = "decide by what an evaluation found, or by a total of the loop that is read after it"
            raise Trouble(node.test, "A034", message, advice)


def _holds(survey: Survey, scope: str, node: cst.CSTNode) -> bool:
    """Return whether a node is a loop with training in it, as one over epochs."""
    return isinstance(node, cst.For | cst.While) and survey.learns(scope, node.body)


def _ends(node: cst.If) -> bool:
    """Return whether a branch leaves or shortens the loop around it."""

    def inside(node: cst.CSTNode) -> bool:
        if isinstance(node, cst.For | cst.While | cst.FunctionDef):
            return False
        return isinstance(node, cst.Break | cst.Continue | cst.Return) or any(inside(child) for child in node.children)

    return inside(node.body)


def refuse_hidden_forward(flow: Flow, training: list[Use]) -> None:
    """Raise Trouble where the loss comes of a part or a method of a model: its gradients would stay in one process."""
    survey = flow.survey
    for scope, node in _trained_code(survey, training):
        asked = {
            k
            for k in flow.trained
            for call in calls(node)
            if dotted(call.func) and survey.key(scope, dotted(call.func)) == k
        }
        for call in calls(node):
            if not isinstance(call.func, cst.Attribute) or _no_gradient(survey, call):
                continue
            path = dotted(call.func)
            parts = path.split(".")
            for length in range(1, len(parts)):
                owner = ".".join(parts[:length])
                key = survey.key(scope, owner)
                if key not in flow.trained or survey.key(scope, ".".join(parts[: length + 1])) in flow.trained:
                    continue
                if key in asked or parts[length] in HARMLESS or not _computes(flow, scope, owner, parts[length:]):
                    break
                message = (
                    f"the loss is computed by {path}, a part of the model: gradients are averaged only for `{owner}(…)`"
                )
                advice = f"let the model's `forward` do it, and call `{owner}(…)`"
                raise Trouble(call, "A035", message, advice)


def _trained_code(survey: Survey, training: list[Use]) -> Iterator[tuple[str, cst.CSTNode]]:
    """Yield the loops that train, and the functions that they call on the way to a loss; each with its scope."""
    waiting: list[tuple[str, cst.CSTNode]] = []
    for use in training:
        assert isinstance(use.node, cst.For | cst.While)
        waiting.append((use.scope, use.node.body))
    seen: set[str] = set()
    while waiting:
        scope, node = waiting.pop(0)
        yield scope, node
        for call in calls(node):
            function = survey.called(scope, dotted(call.func))
            if function is not None and function.name not in seen and not survey.is_module(function.owner):
                seen.add(function.name)
                waiting.append((function.name, function.node.body))


def _no_gradient(survey: Survey, node: cst.CSTNode) -> bool:
    for around in survey.above(node):
        if isinstance(around, cst.With) and re.search(r"no_grad|inference_mode", code(around.items[0].item)):
            return True
        if isinstance(around, cst.FunctionDef):
            return any(re.search(r"no_grad|inference_mode", code(d.decorator)) for d in around.decorators)
    return False


def _computes(flow: Flow, scope: str, owner: str, rest: list[str]) -> bool:
    """Return whether a method, or a part, of a model runs layers of it; so it is held to where nobody can see."""
    survey = flow.survey
    made = [o.made.value for o in flow.origins(scope, cst.parse_expression(owner)) if o.made is not None]
    classes = [last(dotted(call.func)) for value in made for call in _outermost(value)]
    known = [name for name in classes if survey.is_module(name)]
    if not known:
        return True
    for name in known:
        method = survey.functions.get(f"{name}.{rest[0]}")
        if method is None:
            layers = {
                t
                for m in survey.assignments
                if m.scope == f"{name}.__init__" and isinstance(m.value, cst.Call)
                for t in m.targets
            }
            return len(rest) == 1 and f"self.{rest[0]}" in layers
        own = {
            t
            for m in survey.assignments
            if m.scope == f"{name}.__init__" and isinstance(m.value, cst.Call)
            for t in m.targets
        }
        if paths_or_names(method.node.body) & own or any(
            path.startswith(f"{layer}.") for path in paths(method.node.body) for layer in own if layer
        ):
            return True
    return False


def _outermost(value: cst.BaseExpression) -> list[cst.Call]:
    found = next(calls(value), None)
    while found is not None and isinstance(found.func, cst.Attribute) and isinstance(found.func.value, cst.Call):
        found = found.func.value
    return [found] if found is not None else []


def settings(flow: Flow, training: list[Use], text: str) -> dict[str, bool]:
    """Return what DistributedDataParallel has to be told, that models may be called as these loops do."""
    survey, found = flow.survey, dict[str, bool]()
    normal = "BatchNorm" in text or "torchvision.models" in text or "timm" in text or "resnet" in text
    for scope, node in _trained_code(survey, training):
        asked = [call for call in calls(node) if flow.is_trained(scope, call.func) and not _no_gradient(survey, call)]
        heard = [dotted(call.func) for call in asked]
        if normal and any(heard.count(name) > 1 for name in heard):
            found["broadcast_buffers"] = False  # a second forward pass would change buffers that the first still needs
        for made in survey.assignments:
            if made.value in asked and len(made.targets) > 1 and made.scope == scope:
                later = _read_around(survey, made.statement)
                if any(t == "_" or (t and t not in later) for t in made.targets):
                    found["find_unused_parameters"] = True  # what makes the output that nobody uses gets no gradient
    return found


def _read_around(survey: Survey, statement: cst.CSTNode) -> set[str]:
    """Return the names that are read in a statement's block and around it, apart from the statement itself."""
    found: set[str] = set()
    for around in survey.above(statement):
        if isinstance(around, cst.IndentedBlock | cst.Module):
            found |= {
                n for s in around.body if s is not statement and statement not in set(_descendants(s)) for n in names(s)
            }
        if isinstance(around, cst.FunctionDef):
            break
    return found


def _descendants(node: cst.CSTNode) -> Iterator[cst.CSTNode]:
    yield node
    for child in node.children:
        yield from _descendants(child)
