"""The few lines that change: a transformer of the script's concrete syntax tree, which keeps its layout and comments."""

from collections.abc import Sequence
from typing import Any

import libcst as cst

from recipec.adopt.evaluation import Gather
from recipec.adopt.outside import talks
from recipec.adopt.placing import Places
from recipec.adopt.survey import SAME, Survey
from recipec.adopt.tree import calls, dotted, last, names, opens_to_write
from recipec.adopt.trouble import Trouble

ACCELERATOR = "accelerator"
MODULE_WORDS = frozenset(  # what a wrapped model passes on
    [
        "train",
        "eval",
        "parameters",
        "named_parameters",
        "buffers",
        "named_buffers",
        "modules",
        "named_modules",
        "children",
        "named_children",
        "zero_grad",
        "requires_grad_",
        "apply",
        "forward",
        "to",
        "cuda",
        "cpu",
        "training",
    ]
)
ON_MAIN = cst.parse_expression("accelerator.is_main_process")
WIDTH = 100


def _line(text: str, module: cst.Module) -> cst.BaseStatement:
    return cst.parse_statement(text, config=module.config_for_parsing)


class Rewrite(cst.CSTTransformer):
    """Turns a surveyed script into one for several processes. Raises Trouble where something has no place."""

    def __init__(self, survey: Survey, places: Places, module: cst.Module) -> None:
        super().__init__()
        self.survey, self.places, self.module = survey, places, module
        self._scope: list[str] = []
        self._batches: list[
            tuple[set[str], frozenset[str]]
        ] = []  # of each loop around: its names, and which are batches
        self._inside_write = 0
        self._ours: set[cst.CSTNode] = set()  # the `if`s that were put here
        self._dropped: set[cst.CSTNode] = set()  # statements that go; their comments stay

    @property
    def scope(self) -> str:
        """The qualified name of the function that is being changed."""
        return ".".join(self._scope)

    def role(self, node: cst.CSTNode) -> str:
        """Return what an expression of the script as it was holds."""
        return self.survey.role(self.scope, node)

    def visit_FunctionDef(self, node: cst.FunctionDef) -> None:
        self._scope.append(node.name.value)

    def leave_FunctionDef(self, original_node: cst.FunctionDef, updated_node: cst.FunctionDef) -> cst.FunctionDef:
        self._scope.pop()
        return updated_node

    def visit_ClassDef(self, node: cst.ClassDef) -> None:
        self._scope.append(node.name.value)

    def leave_ClassDef(self, original_node: cst.ClassDef, updated_node: cst.ClassDef) -> cst.ClassDef:
        self._scope.pop()
        return updated_node

    def visit_For(self, node: cst.For) -> None:
        self._batches.append((names(node.target), self.places.batches.get(node, frozenset())))

    def leave_For(self, original_node: cst.For, updated_node: cst.For) -> Any:
        self._batches.pop()
        added = [_line(f"{text}\n", self.module) for text in self.places.totals.get(original_node, ())]
        return cst.FlattenSentinel([updated_node, *added]) if added else updated_node

    # Expressions.

    def leave_Call(self, original_node: cst.Call, updated_node: cst.Call) -> cst.BaseExpression:
        name, func = dotted(original_node.func), original_node.func
        method = func.attr.value if isinstance(func, cst.Attribute) else name
        owner = func.value if isinstance(func, cst.Attribute) else None
        if method == "backward" and owner is not None and isinstance(updated_node.func, cst.Attribute):
            loss: cst.BaseExpression = updated_node.func.value
            if self._scales(owner) and isinstance(loss, cst.Call):
                loss = loss.args[0].value
            if original_node in self.places.summed:
                loss = _times_processes(loss)
            return updated_node.with_changes(
                func=cst.parse_expression("accelerator.backward"),
                args=[cst.Arg(loss, comma=_comma(updated_node.args)), *updated_node.args],
            )
        if method in ("clip_grad_norm_", "clip_grad_value_"):
            return updated_node.with_changes(func=cst.parse_expression(f"accelerator.{method}"))
        if name == "torch.save":
            first = updated_node.args[0]
            if self.trained(original_node.args[0].value):
                first = first.with_changes(value=_call("accelerator.unwrap_model", first.value))
            return updated_node.with_changes(
                func=cst.parse_expression("accelerator.save"), args=[first, *updated_node.args[1:]]
            )
        if name == "print":
            return updated_node.with_changes(func=cst.parse_expression("accelerator.print"))
        if method == "tqdm" or method == "trange":
            return self._progress(updated_node)
        if method == "autocast":
            return cst.parse_expression("accelerator.autocast()")
        if owner is None:
            return updated_node
        role = self.role(owner)
        if role == "scaler" and method == "step":
            return updated_node.with_changes(
                func=cst.Attribute(updated_node.args[0].value, cst.Name("step")), args=[*updated_node.args[1:]]
            )
        if role == "scaler" and method in ("state_dict", "load_state_dict", "get_scale"):
            advice = "take the scaler out of the checkpoint: Accelerate keeps one of its own"
            raise Trouble(original_node, "A011", "the state of the GradScaler is used", advice)
        if method in ("to", "cuda") and self._moves(original_node, method):
            assert isinstance(updated_node.func, cst.Attribute)
            if self._placed(original_node) or (isinstance(owner, cst.Name) and owner.value in self._batch()):
                return updated_node.func.value
            if method == "cuda" or self._fixed(original_node):
                return updated_node.with_changes(
                    func=updated_node.func.with_changes(attr=cst.Name("to")),
                    args=[cst.Arg(cst.parse_expression("accelerator.device"))],
                )
        if method == "state_dict" and self.trained(owner):
            assert isinstance(updated_node.func, cst.Attribute)
            return _call("accelerator.get_state_dict", _unwrapped(updated_node.func.value))
        if method == "save_pretrained" and self.trained(owner):
            more = {"is_main_process": "accelerator.is_main_process", "save_function": "accelerator.save"}
            more["state_dict"] = f"accelerator.get_state_dict({dotted(owner)})"
            added = [cst.Arg(cst.parse_expression(v), cst.Name(k), equal=_EQUAL) for k, v in more.items()]
            return updated_node.with_changes(args=[*updated_node.args, *added])
        return updated_node

    def leave_Attribute(self, original_node: cst.Attribute, updated_node: cst.Attribute) -> cst.BaseExpression:
        if not self.trained(original_node.value) or original_node.attr.value in MODULE_WORDS:
            return updated_node
        if dotted(original_node) and self.role(original_node):  # an attribute that is a thing itself, as self.model
            return updated_node
        line = self.places.homes.get(self.scope)
        if line is not None and self.survey.line(original_node) <= line:
            return updated_node  # it is not wrapped yet
        return updated_node.with_changes(value=_call("accelerator.unwrap_model", updated_node.value))

    def leave_Arg(self, original_node: cst.Arg, updated_node: cst.Arg) -> cst.Arg:
        keyword = original_node.keyword.value if original_node.keyword else ""
        if keyword == "device" and self._fixed_value(original_node.value):
            return updated_node.with_changes(value=cst.parse_expression("accelerator.device"))
        if keyword == "map_location" and self.role(original_node.value) == "device":
            # what is loaded is copied to the device all the same, and `cpu:1` is no place that torch.load knows
            return updated_node.with_changes(value=cst.parse_expression('"cpu"'))
        return updated_node

    def trained(self, node: cst.CSTNode) -> bool:
        """Return whether an expression of the script as it was is a model that is prepared."""
        return self.places.flow.is_trained(self.scope, node)

    def _placed(self, call: cst.Call) -> bool:
        """Return whether what a call moves to the device is a model that `prepare` moves anyway."""
        assert isinstance(call.func, cst.Attribute)
        owner = call.func.value
        if dotted(owner) and self.survey.key(self.scope, dotted(owner)) in self.places.models:
            return True
        around = next((n for n in self.survey.above(call) if isinstance(n, cst.SimpleStatementLine)), None)
        return any(
            made.statement is around
            and len(made.targets) == 1
            and bool(made.targets[0])
            and self.survey.key(self.scope, made.targets[0]) in self.places.models
            and call in _wholes(made.value)
            for made in self.survey.assignments
        )

    def _scales(self, node: cst.BaseExpression) -> bool:
        return (
            isinstance(node, cst.Call)
            and isinstance(node.func, cst.Attribute)
            and self.role(node.func.value) == "scaler"
        )

    def _batch(self) -> set[str]:
        found: set[str] = set()
        for bound, batches in self._batches:
            found = (found - bound) | batches
        return found

    def _fixed_value(self, node: cst.BaseExpression) -> bool:
        return isinstance(node, cst.SimpleString) and self.role(node) == "device"

    def _fixed(self, call: cst.Call) -> bool:
        return bool(call.args) and (
            self._fixed_value(call.args[0].value)
            or (
                dotted(call.args[0].value).endswith(".device")
                and not self.survey.roles.get(self.survey.key(self.scope, dotted(call.args[0].value)))
            )
        )

    def _moves(self, call: cst.Call, method: str) -> bool:
        """Return whether a call only moves its object to the device."""
        given = [a for a in call.args if not (a.keyword and a.keyword.value == "non_blocking")]
        if method == "cuda":
            return len(given) == 0
        return len(given) == 1 and self.role(given[0].value) == "device"

    def _progress(self, call: cst.Call) -> cst.Call:
        if any(a.keyword and a.keyword.value == "disable" for a in call.args):
            return call
        off = cst.Arg(cst.parse_expression("not accelerator.is_main_process"), cst.Name("disable"), equal=_EQUAL)
        return call.with_changes(args=[*call.args, off])

    # Statements.

    def visit_With(self, node: cst.With) -> None:
        self._inside_write += self._writes(node)

    def leave_With(self, original_node: cst.With, updated_node: cst.With) -> cst.BaseStatement:
        if not self._writes(original_node):
            return updated_node
        self._inside_write -= 1
        return self._main_only(updated_node)

    def _writes(self, node: cst.With) -> bool:
        return any(isinstance(item.item, cst.Call) and opens_to_write(item.item) for item in node.items)

    def leave_SimpleStatementLine(
        self, original_node: cst.SimpleStatementLine, updated_node: cst.SimpleStatementLine
    ) -> Any:
        if len(original_node.body) != 1:
            return updated_node
        small, new = original_node.body[0], updated_node.body[0]
        if self._drop(small):
            self._dropped.add(updated_node)
            return updated_node
        if (
            isinstance(small, cst.Assign)
            and isinstance(new, cst.Assign)
            and (
                self.role(small.targets[0].target) == "device"
                and self.role(small.value) == "device"
                and not dotted(small.value)
            )
        ):
            new = new.with_changes(value=cst.parse_expression("accelerator.device"))
            updated_node = updated_node.with_changes(body=[new])
        if (
            isinstance(small, cst.Expr)
            and isinstance(small.value, cst.Call)
            and not self._inside_write
            and talks(self.survey, self.scope, small.value)
        ):
            return self._main_only(updated_node)
        before: list[cst.BaseStatement] = []
        if original_node in self.places.waits:
            before.append(_line("accelerator.wait_for_everyone()\n", self.module))
            before[0] = before[0].with_changes(leading_lines=updated_node.leading_lines)
            updated_node = updated_node.with_changes(leading_lines=[])
        here: cst.BaseStatement = updated_node
        if original_node in self.places.downloads:
            first = cst.ensure_type(_line("with accelerator.main_process_first():\n    pass\n", self.module), cst.With)
            body = cst.IndentedBlock([updated_node.with_changes(leading_lines=[])])
            here = first.with_changes(body=body, leading_lines=updated_node.leading_lines)
        added: list[cst.BaseStatement] = []
        for group in self.places.prepare.get(original_node, ()):
            added.append(_line(_prepared(group), self.module))
        gather = self.places.gather.get(original_node)
        if gather is not None:
            added.append(_line(_gathered(gather), self.module))
        return cst.FlattenSentinel([*before, here, *added])

    def _drop(self, small: cst.BaseSmallStatement) -> bool:
        """Return whether a statement has nothing left to do: the scaler's, and moves to the device."""
        if isinstance(small, cst.Assign):
            if self.role(small.value) == "scaler":
                return True
            target = small.targets[0].target
            values = [e.value for e in small.value.elements] if isinstance(small.value, cst.Tuple) else [small.value]
            targets = [e.value for e in target.elements] if isinstance(target, cst.Tuple) else [target]
            return len(values) == len(targets) and all(self._stays(t, v) for t, v in zip(targets, values, strict=True))
        if (
            isinstance(small, cst.Expr)
            and isinstance(small.value, cst.Call)
            and isinstance(small.value.func, cst.Attribute)
        ):
            call, owner = small.value, small.value.func.value
            if self.role(owner) == "scaler" and small.value.func.attr.value in ("update", "unscale_"):
                return True
            method = small.value.func.attr.value
            return method in ("to", "cuda") and self._moves(call, method) and self._placed(call)
        return False

    def _stays(self, target: cst.BaseExpression, value: cst.BaseExpression) -> bool:
        """Return whether `target = value` only moves target to the device: a batch, or the model."""
        if isinstance(value, cst.DictComp) and isinstance(target, cst.Name) and target.value in self._batch():
            moved = value.value
            inside = (
                isinstance(moved, cst.Call)
                and isinstance(moved.func, cst.Attribute)
                and self._moves(moved, moved.func.attr.value)
            )
            return inside and target.value in names(value.for_in.iter) and value.for_in.ifs == ()
        if not (isinstance(value, cst.Call) and isinstance(value.func, cst.Attribute)):
            return False
        method, owner = value.func.attr.value, value.func.value
        if (
            method not in ("to", "cuda")
            or not self._moves(value, method)
            or dotted(owner) != dotted(target)
            or not dotted(owner)
        ):
            return False
        return dotted(owner) in self._batch() or self._placed(value)

    def _main_only(self, statement: Any) -> cst.If:
        lines = statement.leading_lines
        made = cst.If(
            ON_MAIN.deep_clone(), cst.IndentedBlock([statement.with_changes(leading_lines=[])]), leading_lines=lines
        )
        self._ours.add(made)
        return made

    def leave_If(self, original_node: cst.If, updated_node: cst.If) -> Any:
        """Drop an `if` whose only work was to move things to the GPU."""
        empty = isinstance(updated_node.body, cst.IndentedBlock) and not updated_node.body.body
        return cst.RemoveFromParent() if empty and updated_node.orelse is None else updated_node

    def leave_IfExp(self, original_node: cst.IfExp, updated_node: cst.IfExp) -> cst.BaseExpression:
        """`a.cuda() if … else a` has become twice the same."""
        return updated_node.body if updated_node.body.deep_equals(updated_node.orelse) else updated_node

    def leave_IndentedBlock(
        self, original_node: cst.IndentedBlock, updated_node: cst.IndentedBlock
    ) -> cst.IndentedBlock:
        return updated_node.with_changes(body=self._merged(updated_node.body))

    def _merged(self, body: Sequence[cst.BaseStatement]) -> list[cst.BaseStatement]:
        """Put statements for the main process that follow one another under one `if`."""
        out: list[cst.BaseStatement] = []
        kept: list[cst.EmptyLine] = []
        for statement in body:
            assert isinstance(statement, cst.SimpleStatementLine | cst.BaseCompoundStatement)  # there are no others
            if statement in self._dropped:
                kept += [line for line in statement.leading_lines if line.comment]
                continue
            if kept:
                ours = statement in self._ours
                statement = statement.with_changes(leading_lines=[*kept, *statement.leading_lines])
                kept = []
                self._ours |= {statement} if ours else set()
            before = out[-1] if out else None
            if (
                isinstance(statement, cst.If)
                and statement in self._ours
                and isinstance(before, cst.If)
                and before in self._ours
            ):
                assert isinstance(before.body, cst.IndentedBlock)
                assert isinstance(statement.body, cst.IndentedBlock)
                first = statement.body.body[0].with_changes(leading_lines=statement.leading_lines)
                block = before.body.with_changes(body=[*before.body.body, first, *statement.body.body[1:]])
                out[-1] = before.with_changes(body=block)
                self._ours.add(out[-1])
            else:
                out.append(statement)
        return out

    def leave_Module(self, original_node: cst.Module, updated_node: cst.Module) -> cst.Module:
        body = self._merged(updated_node.body)
        index = _after_imports(body)
        told = ", ".join(f"{key}={value}" for key, value in self.places.settings.items())
        handler = f"kwargs_handlers=[DistributedDataParallelKwargs({told})]" if told else ""
        imported = "Accelerator, DistributedDataParallelKwargs" if told else "Accelerator"
        lines = [f"from accelerate import {imported}", f"accelerator = Accelerator({handler})"]
        if any(self.places.totals.values()) and "torch" not in self.survey.imports:
            lines.insert(0, "import torch")
        added = [_line(f"{line}\n", self.module) for line in lines]
        added[-1] = added[-1].with_changes(leading_lines=[cst.EmptyLine(indent=False)])
        module = updated_node.with_changes(body=[*body[:index], *added, *body[index:]])
        left = [
            node
            for node in calls(module)
            if last(dotted(node.func)) in ("autocast", "GradScaler") and not dotted(node.func).startswith(ACCELERATOR)
        ]
        return module if left else _without_amp(module)


_EQUAL = cst.AssignEqual(cst.SimpleWhitespace(""), cst.SimpleWhitespace(""))


def _times_processes(loss: cst.BaseExpression) -> cst.BaseExpression:
    """Return `loss * accelerator.num_processes`: gradients are averaged, and this loss is a sum."""
    bare = isinstance(loss, cst.Name | cst.Attribute | cst.Call | cst.Subscript) or bool(loss.lpar)
    left = loss if bare else loss.with_changes(lpar=[cst.LeftParen()], rpar=[cst.RightParen()])
    return cst.BinaryOperation(left, cst.Multiply(), cst.parse_expression("accelerator.num_processes"))


def _wholes(value: cst.BaseExpression) -> list[cst.BaseExpression]:
    """Return the calls whose result a value is: of `a.to(device).train()` both, and those of both branches of `… if …`."""
    if isinstance(value, cst.IfExp):
        return [*_wholes(value.body), *_wholes(value.orelse)]
    if isinstance(value, cst.Call):
        inner = value.func.value if isinstance(value.func, cst.Attribute) and value.func.attr.value in SAME else None
        return [value, *(_wholes(inner) if inner is not None else [])]
    return []


def _comma(rest: Sequence[cst.Arg]) -> cst.Comma | cst.MaybeSentinel:
    return cst.Comma(whitespace_after=cst.SimpleWhitespace(" ")) if rest else cst.MaybeSentinel.DEFAULT


def _call(name: str, argument: cst.BaseExpression) -> cst.Call:
    return cst.Call(cst.parse_expression(name), [cst.Arg(argument)])


def _unwrapped(node: cst.BaseExpression) -> cst.BaseExpression:
    """Take `accelerator.unwrap_model` off again, for what unwraps by itself."""
    inner = isinstance(node, cst.Call) and dotted(node.func) == "accelerator.unwrap_model"
    return node.args[0].value if inner and isinstance(node, cst.Call) else node


def _prepared(group: tuple[str, ...]) -> str:
    listed = ", ".join(group)
    line = f"{listed} = accelerator.prepare({listed})"
    return f"{line}\n" if len(line) <= WIDTH else f"{listed} = accelerator.prepare(\n    {listed}\n)\n"


def _gathered(gather: Gather) -> str:
    listed = ", ".join(gather.names)
    if len(gather.names) == 1:
        return f"{listed} = accelerator.gather_for_metrics({listed})\n"
    return f"{listed} = accelerator.gather_for_metrics(({listed}))\n"


def _after_imports(body: Sequence[cst.BaseStatement]) -> int:
    found = 0
    for index, statement in enumerate(body):
        if isinstance(statement, cst.SimpleStatementLine) and isinstance(
            statement.body[0], cst.Import | cst.ImportFrom
        ):
            found = index + 1
        elif isinstance(statement, cst.FunctionDef | cst.ClassDef):
            break
    return found


def _without_amp(module: cst.Module) -> cst.Module:
    """Drop the imports of GradScaler and autocast, which nothing uses any more."""
    body: list[cst.BaseStatement] = []
    for statement in module.body:
        small = statement.body[0] if isinstance(statement, cst.SimpleStatementLine) else None
        if isinstance(small, cst.ImportFrom) and not isinstance(small.names, cst.ImportStar):
            kept = [alias for alias in small.names if dotted(alias.name) not in ("GradScaler", "autocast")]
            if not kept:
                continue
            if len(kept) < len(small.names):
                kept[-1] = kept[-1].with_changes(comma=cst.MaybeSentinel.DEFAULT)
                statement = cst.ensure_type(statement, cst.SimpleStatementLine).with_changes(
                    body=[small.with_changes(names=kept)]
                )
        body.append(statement)
    return module.with_changes(body=body)
