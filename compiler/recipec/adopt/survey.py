"""What a training script is made of: which names hold the model, the optimiser, the loaders, and where its loops are.

Roles spread from where they are made: by assignment, through parameters and results of the script's own functions,
and through attributes of `self`. Nothing of the script is run.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

import libcst as cst
from libcst.metadata import CodeRange, MetadataWrapper, ParentNodeProvider, PositionProvider

from recipec.adopt.tree import calls, dotted, last, opens_to_write, paths, trained

OPTIMIZERS = frozenset(
    [
        "Adam",
        "AdamW",
        "SGD",
        "RMSprop",
        "Adagrad",
        "Adadelta",
        "Adamax",
        "NAdam",
        "RAdam",
        "ASGD",
        "Adafactor",
        "SparseAdam",
        "Rprop",
        "LBFGS",
        "Lion",
        "Muon",
        "AdamW8bit",
        "Adam8bit",
        "PagedAdamW",
        "PagedAdamW8bit",
    ]
)
SCHEDULE = re.compile(r"(\w+LR|ReduceLROnPlateau|CosineAnnealingWarmRestarts|get_\w*schedul\w*)$")
WRAPPERS = frozenset(["enumerate", "tqdm", "zip", "iter", "islice", "track"])  # what loops put around a loader
HOLDERS = frozenset(["args", "cfg", "config", "opt", "hparams", "self"])  # whose `.device` is a setting, not a tensor's
TRACKERS = ("SummaryWriter", "getLogger", "writer", "DictWriter")  # of tensorboard, logging and csv
SAME = frozenset(["to", "cuda", "cpu", "float", "train", "eval", "requires_grad_"])  # methods that return their object

Key = tuple[str, str]  # the scope (a function's qualified name, `class NAME`, or "" for the module), and the name


class Function(NamedTuple):
    """A function of the script: its qualified name, its class if it is a method, and its parameters without self."""

    name: str
    owner: str
    parameters: tuple[str, ...]
    node: cst.FunctionDef


class Assignment(NamedTuple):
    """`targets = value` at a statement; `body` is the block (or module) whose direct statement it is."""

    scope: str
    targets: tuple[str, ...]
    value: cst.BaseExpression
    statement: cst.SimpleStatementLine
    body: cst.CSTNode


class Update(NamedTuple):
    """`name += value`, or `name = name + value`, at a statement."""

    scope: str
    name: str
    value: cst.BaseExpression
    statement: cst.SimpleStatementLine


class Use(NamedTuple):
    """A call, or a loop, and the scope it stands in."""

    scope: str
    node: cst.CSTNode


class Survey(cst.CSTVisitor):
    """The script's functions, assignments, calls and loops, and what its names hold."""

    def __init__(self, wrapper: MetadataWrapper) -> None:
        super().__init__()
        self._ranges = wrapper.resolve(PositionProvider)
        self._parents = wrapper.resolve(ParentNodeProvider)
        self.functions: dict[str, Function] = {}
        self.classes: dict[str, tuple[str, ...]] = {}  # name -> its bases
        self.assignments: list[Assignment] = []
        self.updates: list[Update] = []
        self.calls: list[Use] = []
        self.loops: list[Use] = []
        self.whiles: list[Use] = []
        self.comprehensions: list[Use] = []
        self.statements: list[cst.SimpleStatementLine] = []
        self.branches: list[Use] = []
        self.returns: list[tuple[str, tuple[cst.BaseExpression, ...]]] = []
        self.imports: dict[str, cst.CSTNode] = {}  # dotted module or module.name -> its statement
        self.roles: dict[Key, str] = {}
        self.optimizers: set[cst.Call] = (
            set()
        )  # calls of classes that nobody here knows: `optimizer = Lamb(net.parameters())`
        self._stack: list[tuple[str, str]] = []  # (kind, name)
        self._bound: dict[str, set[str]] = {}  # scope -> names that are assigned in it
        self._asking: set[str] = set()  # functions whose results are being looked at
        self._outer: dict[str, set[str]] = {}  # scope -> names that it declares global or nonlocal

    # What is there, in order.

    def visit_FunctionDef(self, node: cst.FunctionDef) -> None:
        owner = self._stack[-1][1] if self._stack and self._stack[-1][0] == "class" else ""
        self._stack.append(("def", node.name.value))
        parameters = [*node.params.posonly_params, *node.params.params, *node.params.kwonly_params]
        plain = [parameter.name.value for parameter in parameters]
        function = Function(self.scope, owner, tuple(plain[1:] if owner else plain), node)
        self.functions[self.scope] = function

    def leave_FunctionDef(self, original_node: cst.FunctionDef) -> None:
        self._stack.pop()

    def visit_ClassDef(self, node: cst.ClassDef) -> None:
        self._stack.append(("class", node.name.value))
        self.classes[node.name.value] = tuple(dotted(base.value) for base in node.bases)

    def leave_ClassDef(self, original_node: cst.ClassDef) -> None:
        self._stack.pop()

    @property
    def scope(self) -> str:
        """The qualified name of the function that is being read."""
        return ".".join(name for _kind, name in self._stack)

    def visit_Assign(self, node: cst.Assign) -> None:
        for target in node.targets:
            self._assigned(node, target.target, node.value)

    def visit_AugAssign(self, node: cst.AugAssign) -> None:
        statement = self.parent(node)
        if isinstance(node.operator, cst.AddAssign) and isinstance(statement, cst.SimpleStatementLine):
            self.updates.append(Update(self.scope, dotted(node.target), node.value, statement))

    def visit_AnnAssign(self, node: cst.AnnAssign) -> None:
        if node.value is not None:
            self._assigned(node, node.target, node.value)

    def _assigned(self, node: cst.CSTNode, target: cst.BaseExpression, value: cst.BaseExpression) -> None:
        statement = self.parent(node)
        if not isinstance(statement, cst.SimpleStatementLine):
            return  # `if x: y = 1` on one line
        added = value.left if isinstance(value, cst.BinaryOperation) and isinstance(value.operator, cst.Add) else None
        if added is not None and dotted(added) and dotted(added) == dotted(target):
            assert isinstance(value, cst.BinaryOperation)
            self.updates.append(Update(self.scope, dotted(target), value.right, statement))
            return
        several = isinstance(target, cst.Tuple | cst.List)
        parts = [element.value for element in target.elements] if isinstance(target, cst.Tuple | cst.List) else [target]
        if several and isinstance(value, cst.Tuple) and len(value.elements) == len(parts):
            for part, element in zip(parts, value.elements, strict=True):
                self._keep(statement, (dotted(part),), element.value)
        else:
            self._keep(statement, tuple(dotted(part) for part in parts), value)

    def _keep(self, statement: cst.SimpleStatementLine, targets: tuple[str, ...], value: cst.BaseExpression) -> None:
        self.assignments.append(Assignment(self.scope, targets, value, statement, self.parent(statement)))
        self._bound.setdefault(self.scope, set()).update(targets)

    def visit_Global(self, node: cst.Global) -> None:
        self._outer.setdefault(self.scope, set()).update(item.name.value for item in node.names)

    def visit_Nonlocal(self, node: cst.Nonlocal) -> None:
        self._outer.setdefault(self.scope, set()).update(item.name.value for item in node.names)

    def visit_Call(self, node: cst.Call) -> None:
        self.calls.append(Use(self.scope, node))

    def visit_For(self, node: cst.For) -> None:
        self.loops.append(Use(self.scope, node))

    def visit_SimpleStatementLine(self, node: cst.SimpleStatementLine) -> None:
        self.statements.append(node)

    def visit_CompFor(self, node: cst.CompFor) -> None:
        self.comprehensions.append(Use(self.scope, node))

    def visit_While(self, node: cst.While) -> None:
        self.whiles.append(Use(self.scope, node))

    def visit_If(self, node: cst.If) -> None:
        self.branches.append(Use(self.scope, node))

    def visit_Return(self, node: cst.Return) -> None:
        if isinstance(node.value, cst.Tuple):
            self.returns.append((self.scope, tuple(element.value for element in node.value.elements)))
        elif node.value is not None:
            self.returns.append((self.scope, (node.value,)))

    def visit_Import(self, node: cst.Import) -> None:
        for alias in node.names:
            self.imports[dotted(alias.name)] = node

    def visit_ImportFrom(self, node: cst.ImportFrom) -> None:
        module = dotted(node.module)
        self.imports[module] = node
        for alias in node.names if not isinstance(node.names, cst.ImportStar) else ():
            self.imports[f"{module}.{dotted(alias.name)}"] = node

    # Where things are.

    def parent(self, node: cst.CSTNode) -> cst.CSTNode:
        """Return the node around a node."""
        return self._parents[node]

    def above(self, node: cst.CSTNode) -> Iterator[cst.CSTNode]:
        """Yield the nodes around a node, nearest first."""
        while not isinstance(node, cst.Module):
            node = self.parent(node)
            yield node

    def range(self, node: cst.CSTNode) -> CodeRange:
        """Return the lines (from 1) and columns (from 0) where a node begins and ends."""
        found = self._ranges[node]
        assert isinstance(found, CodeRange)
        return found

    def line(self, node: cst.CSTNode) -> int:
        """Return the line where a node begins."""
        return self.range(node).start.line

    # What names hold.

    def key(self, scope: str, name: str) -> Key:
        """Return where a name of a scope is kept: attributes of self by class, other names where they are known."""
        if name.startswith("self."):
            function = self.functions.get(scope)
            while function is not None and not function.owner:
                function = self.functions.get(scope := scope.rpartition(".")[0])
            return (f"class {function.owner if function else ''}", name)
        while scope:
            if (scope, name) in self.roles or self._local(scope, name):
                return (scope, name)
            scope = scope.rpartition(".")[0]
        return ("", name)

    def _local(self, scope: str, name: str) -> bool:
        function = self.functions.get(scope)
        if function is not None and name in function.parameters:
            return True
        return name in self._bound.get(scope, ()) and name not in self._outer.get(scope, ())

    def role(self, scope: str, node: cst.CSTNode) -> str:
        """Return what an expression is: model, optimizer, scheduler, loader, progress, scaler, device, tracker or ""."""
        name = dotted(node)
        if name:
            found = self.roles.get(self.key(scope, name), "")
            holder, _, word = name.rpartition(".")
            return found or ("device" if word == "device" and holder in ("", *HOLDERS) else "")
        if isinstance(node, cst.Attribute) and node.attr.value == "type":
            return "device" if self.role(scope, node.value) == "device" else ""  # `current_accelerator().type`
        if isinstance(node, cst.SimpleString) and node.value.strip("\"'").partition(":")[0] == "cuda":
            return "device"
        if isinstance(node, cst.IfExp) and "cuda" in cst.Module([]).code_for_node(node):
            return "device" if self.role(scope, node.body) == "device" else ""
        if isinstance(node, cst.Call):
            roles = self.results(scope, node)
            return roles[0] if len(roles) == 1 else ""
        return ""

    def results(self, scope: str, call: cst.Call) -> tuple[str, ...]:
        """Return the roles of what a call returns, one for each of its results."""
        callee = dotted(call.func)
        method = last(callee) if callee else getattr(getattr(call.func, "attr", None), "value", "")
        if method in SAME and isinstance(call.func, cst.Attribute):
            return (self.role(scope, call.func.value),)
        if self.makes_optimizer(call):
            return ("optimizer",)
        if method in WRAPPERS and call.args:
            held = [self.role(scope, argument.value) for argument in call.args]
            return ("progress" if "loader" in held or "progress" in held else "",)
        known = {"DataLoader": "loader", "GradScaler": "scaler"} | dict.fromkeys(TRACKERS, "tracker")
        if method in known:
            return (known[method],)
        if method == "open" and opens_to_write(call):
            return ("tracker",)
        if callee == "torch.device" or method == "current_accelerator":
            return ("device",)
        if method == "compile" and call.args:
            return (self.role(scope, call.args[0].value),)
        if SCHEDULE.match(method):
            return ("scheduler",)
        if (method in ("from_pretrained", "from_config") and "Model" in callee) or callee in (
            "nn.Sequential",
            "torch.nn.Sequential",
        ):
            return ("model",)
        if self.is_module(callee):
            return ("model",)
        function = self.called(scope, callee)
        found: tuple[str, ...] = ()
        if function is None or function.name in self._asking:  # it calls itself
            return found
        self._asking.add(function.name)
        for where, values in self.returns:
            if where == function.name:
                roles = tuple(self.role(where, value) for value in values)
                found = roles if any(roles) or not found else found
        self._asking.remove(function.name)
        return found

    def called(self, scope: str, callee: str) -> Function | None:
        """Return the script's own function that a call by this name reaches."""
        if callee.startswith("self."):
            owner = self.key(scope, callee)[0].removeprefix("class ")
            return self.functions.get(f"{owner}.{callee[5:]}")
        while scope:
            if f"{scope}.{callee}" in self.functions:
                return self.functions[f"{scope}.{callee}"]
            scope = scope.rpartition(".")[0]
        if callee in self.classes:
            return self.functions.get(f"{callee}.__init__")
        if "." in callee:  # a method of an object of one of the script's classes
            found = [f for f in self.functions.values() if f.owner and f.node.name.value == last(callee)]
            return found[0] if len(found) == 1 else None
        return self.functions.get(callee)

    def spread(self) -> None:
        """Find every role, by going over the script until nothing new is learnt."""
        for made in self.assignments:
            unknown = isinstance(made.value, cst.Call) and self.called(made.scope, dotted(made.value.func)) is None
            named = len(made.targets) == 1 and "opt" in last(made.targets[0]).lower()
            if unknown and named and isinstance(made.value, cst.Call) and trained(made.value.args):
                self.optimizers.add(made.value)
        before = -1
        while len(self.roles) != before:
            before = len(self.roles)
            for made in self.assignments:
                values = [self.role(made.scope, made.value)]
                if isinstance(made.value, cst.Call) and len(made.targets) > 1:
                    values = list(self.results(made.scope, made.value))
                for target, role in zip(made.targets, values, strict=False):
                    if target and role and not self._in_module(made.scope):
                        self.roles.setdefault(self.key(made.scope, target), role)
            for use in self.calls:
                assert isinstance(use.node, cst.Call)
                self._bind(use.scope, use.node)
                if self.makes_optimizer(use.node):
                    for name in self.trains(use.scope, use.node):
                        self.roles.setdefault(self.key(use.scope, name), "model")

    def is_module(self, name: str, seen: frozenset[str] = frozenset()) -> bool:
        """Return whether a class of the script is a torch.nn.Module."""
        bases = () if name in seen else self.classes.get(name, ())
        return any(last(base) == "Module" or self.is_module(base, seen | {name}) for base in bases)

    def makes_optimizer(self, call: cst.Call) -> bool:
        """Return whether a call makes an optimiser, as far as its name says, or that of what it is assigned to."""
        return last(dotted(call.func)) in OPTIMIZERS or call in self.optimizers

    def trains(self, scope: str, call: cst.Call) -> list[str]:
        """Return the names of the models whose parameters an optimiser is given, directly or by a name of their own."""
        found: list[str] = []
        arguments: list[cst.CSTNode] = list(call.args)
        seen: set[str] = set()
        while arguments:
            argument = arguments.pop(0)
            for name in trained([argument]):
                root = self.root(scope, name)
                if root not in found:
                    found.append(root)
            for name in sorted(paths(argument) - seen):  # `parameters = [p for p in model.parameters() if …]`
                seen.add(name)
                key = self.key(scope, name)
                role = self.roles.get(key, "")
                if role == "" and (key[0] == scope or name.startswith("self.")):
                    arguments += [
                        made.value
                        for made in self.assignments
                        if self.key(made.scope, name) == key and name in made.targets
                    ]
        return found

    def root(self, scope: str, name: str) -> str:
        """Return the model that a dotted name is a part of: `model` of `model.head`, `self.net` of `self.net.head`."""
        parts = name.split(".")
        least = 2 if parts[0] == "self" and not self._in_module(scope) else 1
        for length in range(least, len(parts) + 1):
            whole = ".".join(parts[:length])
            if length == len(parts) or self.roles.get(self.key(scope, whole)) == "model" or self._known(scope, whole):
                return whole
        return name

    def _known(self, scope: str, name: str) -> bool:
        key = self.key(scope, name)
        parameters = self.functions[key[0]].parameters if key[0] in self.functions else ()
        holder = name in HOLDERS or name in self.imports
        return not holder and (
            name in parameters
            or any(self.key(made.scope, name) == key and name in made.targets for made in self.assignments)
        )

    def _in_module(self, scope: str) -> bool:
        """Return whether a scope is a method of a model: its parts are not the model that is trained."""
        return self.is_module(scope.partition(".")[0])

    def _bind(self, scope: str, call: cst.Call) -> None:
        for function, name, argument in self.bound(scope, call):
            role = self.role(scope, argument)
            inside = self.roles.get((function.name, name), "")
            if role:
                self.roles.setdefault((function.name, name), role)
            elif inside in ("model", "loader", "optimizer") and dotted(argument):
                self.roles.setdefault(self.key(scope, dotted(argument)), inside)

    def bound(self, scope: str, call: cst.Call) -> list[tuple[Function, str, cst.BaseExpression]]:
        """Return what a call of one of the script's functions hands to which of its parameters."""
        function = self.called(scope, dotted(call.func))
        if function is None:
            return []
        places = list(function.parameters)
        found: list[tuple[Function, str, cst.BaseExpression]] = []
        for index, argument in enumerate(call.args):
            name = argument.keyword.value if argument.keyword else places[index] if index < len(places) else ""
            if name in places and not argument.star:
                found.append((function, name, argument.value))
        return found

    # What loops do.

    def over_loader(self, use: Use) -> bool:
        """Return whether a loop goes over the batches of a loader."""
        assert isinstance(use.node, cst.For)
        return self.role(use.scope, use.node.iter) in ("loader", "progress")

    def taken(self, use: Use) -> list[tuple[str, cst.BaseExpression]]:
        """Return the loaders that a loop goes over, or takes single batches from by `next`, each with its scope."""
        over = self.loaders(use.scope, use.node.iter) if isinstance(use.node, cst.For) else []
        body = use.node.body if isinstance(use.node, cst.For | cst.While) else use.node
        for call in calls(body):
            if dotted(call.func) == "next" and call.args:
                over += self.loaders(use.scope, call.args[0].value)
        return over

    def loaders(self, scope: str, node: cst.BaseExpression) -> list[tuple[str, cst.BaseExpression]]:
        """Return the loaders that an expression goes over, without what is around them, each with its scope."""
        if isinstance(node, cst.Call) and (last(dotted(node.func)) in WRAPPERS):
            return [found for argument in node.args for found in self.loaders(scope, argument.value)]
        role = self.role(scope, node)
        if role == "progress" and dotted(node):
            key = self.key(scope, dotted(node))
            made = [m for m in self.assignments if dotted(node) in m.targets and self.key(m.scope, dotted(node)) == key]
            return [found for m in made if not dotted(m.value) for found in self.loaders(m.scope, m.value)]
        return [(scope, node)] if role == "loader" else []

    def learns(self, scope: str, node: cst.CSTNode, seen: frozenset[str] = frozenset()) -> bool:
        """Return whether something goes backward in a node, or in the script's functions that it calls."""
        for call in calls(node):
            if isinstance(call.func, cst.Attribute) and call.func.attr.value == "backward":
                return True
            function = self.called(scope, dotted(call.func))
            inside = function is not None and function.name not in seen
            if inside and function and self.learns(function.name, function.node.body, seen | {function.name}):
                return True
        return False

    def loops_in(self, scope: str, node: cst.CSTNode, seen: frozenset[str] = frozenset()) -> bool:
        """Return whether batches are taken from a loader in a node, or in the script's functions that it calls."""
        if any(dotted(call.func) == "iter" and self.results(scope, call) == ("progress",) for call in calls(node)):
            return True
        if any(use.node is node or node in self.above(use.node) for use in self.loops if self.over_loader(use)):
            return True
        for call in calls(node):
            function = self.called(scope, dotted(call.func))
            inside = function is not None and function.name not in seen
            if inside and function and self.loops_in(function.name, function.node, seen | {function.name}):
                return True
        return False

    def asks_model(self, use: Use) -> bool:
        """Return whether a loop calls a model, or hands one to something."""
        body = use.node.body if isinstance(use.node, cst.For) else self.parent(use.node)
        return any(
            self.role(use.scope, asked) == "model"
            for call in calls(body)
            for asked in (call.func, getattr(call.func, "value", call.func), *(a.value for a in call.args))
            if isinstance(asked, cst.BaseExpression)
        )
