"""Whether a number that a loop computes is a sum over the rows of a batch or a mean: processes combine them differently.

Accelerate averages gradients over processes. That is the gradient of a mean over all rows; a sum over rows must be
multiplied by the number of processes. What a training loop adds up over its batches is one process's part likewise.
"""

import re

import libcst as cst

from recipec.adopt.flow import Flow
from recipec.adopt.survey import HOLDERS, SAME
from recipec.adopt.tree import calls, dotted, last, names

SUM, MEAN, ROWS, CONSTANT, MIXED, UNKNOWN = "sum", "mean", "rows", "constant", "mixed", ""
SAME_KIND = frozenset(
    ["item", "detach", "float", "double", "cpu", "clone", "int", "to", "squeeze", "abs", "sqrt", "numpy", "tolist", "requires_grad_", "contiguous"]
)  # fmt: skip
LOSS = re.compile(r"(\w*loss|cross_entropy|binary_cross_entropy(_with_logits)?|kl_div|CrossEntropyLoss|\w+Loss)$")
WEIGHTS = re.compile(r"parameters\(|\.weight\b|\.bias\b")


class Losses:
    """Judges expressions of a script by what they are over the rows of a batch."""

    def __init__(self, flow: Flow) -> None:
        self.flow, self.survey = flow, flow.survey

    def kind(self, scope: str, node: cst.BaseExpression, seen: frozenset[tuple[str, str]] = frozenset()) -> str:
        """Return SUM, MEAN, ROWS (a value for each row), CONSTANT (not of the batch), MIXED or UNKNOWN."""
        if isinstance(node, cst.BaseNumber | cst.SimpleString):
            return CONSTANT
        if isinstance(node, cst.UnaryOperation):
            return self.kind(scope, node.expression, seen)
        if isinstance(node, cst.Comparison):
            return ROWS
        if isinstance(node, cst.BinaryOperation):
            left, right = self.kind(scope, node.left, seen), self.kind(scope, node.right, seen)
            if isinstance(node.operator, cst.Multiply):
                return _product(left, right)
            if isinstance(node.operator, cst.Divide | cst.FloorDivide):
                if left == SUM and "batch" in cst.Module([]).code_for_node(node.right).lower():
                    return MEAN  # `/ args.batch_size`
                return _quotient(left, right)
            return _total([left, right])
        if isinstance(node, cst.Call):
            return self._call(scope, node, seen)
        if isinstance(node, cst.Subscript):
            inside = dotted(node.value)
            if inside.endswith(".shape"):
                return SUM  # a number of rows
            kind = self._part(scope, node, seen)
            return kind or (ROWS if self.kind(scope, node.value, seen) == ROWS else UNKNOWN)
        if isinstance(node, cst.IfExp):
            return _total([self.kind(scope, node.body, seen), self.kind(scope, node.orelse, seen)])
        name = dotted(node)
        if name.endswith(".loss"):
            return MEAN
        if name.endswith(".data"):
            return self.kind(scope, cst.parse_expression(name.removesuffix(".data")), seen)
        holder = name.partition(".")[0]
        if holder != name and holder != "self" and (holder in HOLDERS or self._parsed(scope, holder)):
            return CONSTANT  # a setting
        return self._name(scope, name, seen) if name else UNKNOWN

    def _parsed(self, scope: str, name: str) -> bool:
        made = self._maker(scope, name)
        return made is not None and getattr(getattr(made.func, "attr", None), "value", "") == "parse_args"

    def _name(self, scope: str, name: str, seen: frozenset[tuple[str, str]]) -> str:
        key = self.survey.key(scope, name)
        if key in seen:
            return CONSTANT  # `loss = loss + more` adds nothing by itself
        seen |= {key}
        found: list[str] = []
        for made in self.survey.assignments:
            if name not in made.targets or self.survey.key(made.scope, name) != key:
                continue
            if len(made.targets) == 1:
                found.append(self.kind(made.scope, made.value, seen))
            else:
                found.append(self._result(made.scope, made.value, made.targets.index(name), len(made.targets), seen))
        found += [
            self.kind(update.scope, update.value, seen)
            for update in self.survey.updates
            if update.name == name and self.survey.key(update.scope, name) == key
        ]
        function = self.survey.functions.get(key[0])
        if not found and function is not None and name in function.parameters:
            handed = [(where, value) for where, f, parameter, value in self.flow.bindings if (f.name, parameter) == key]
            found += [self.kind(where, value, seen) for where, value in handed]
        return _total(found) if found else UNKNOWN

    def _result(
        self, scope: str, value: cst.BaseExpression, index: int, count: int, seen: frozenset[tuple[str, str]]
    ) -> str:
        """Judge one of several results of a call."""
        function = self.survey.called(scope, dotted(value.func)) if isinstance(value, cst.Call) else None
        inside = [function.name] if function is not None else []
        if isinstance(value, cst.Call) and not inside:
            inside = self._functions(scope, value)
        found = [
            self.kind(where, values[index], seen)
            for where, values in self.survey.returns
            if where in inside and len(values) == count
        ]
        return _total(found) if found else UNKNOWN

    def _part(self, scope: str, node: cst.Subscript, seen: frozenset[tuple[str, str]]) -> str:
        """Judge `f(…)["loss"]` and `f(…)[0]`, or the same of a name, by what the script's own function returns."""
        index = node.slice[0].slice if len(node.slice) == 1 else None
        value: cst.BaseExpression | None = node.value
        if dotted(node.value):
            value = self._maker(scope, dotted(node.value))
        if not isinstance(index, cst.Index) or not isinstance(value, cst.Call):
            return UNKNOWN
        word, found = cst.Module([]).code_for_node(index.value), list[str]()
        for where, values in self.survey.returns:
            if where not in self._functions(scope, value):
                continue
            if word.isdigit() and len(values) > int(word):
                found.append(self.kind(where, values[int(word)], seen))
            for element in values[0].elements if isinstance(values[0], cst.Dict) else ():
                if isinstance(element, cst.DictElement) and cst.Module([]).code_for_node(element.key) == word:
                    found.append(self.kind(where, element.value, seen))
        return _total(found) if found else UNKNOWN

    def _functions(self, scope: str, call: cst.Call) -> list[str]:
        """Return the script's function that a call runs: that of the name, or `forward` of its model."""
        function = self.survey.called(scope, dotted(call.func))
        if function is not None:
            return [function.name]
        if not dotted(call.func):
            return []
        made = [c for o in self.flow.origins(scope, call.func) if o.made is not None for c in calls(o.made.value)]
        return [f"{dotted(c.func)}.forward" for c in made if self.survey.is_module(dotted(c.func))]

    def _call(self, scope: str, node: cst.Call, seen: frozenset[tuple[str, str]]) -> str:
        survey, callee = self.survey, dotted(node.func)
        owner = node.func.value if isinstance(node.func, cst.Attribute) else None
        method = node.func.attr.value if isinstance(node.func, cst.Attribute) else callee
        library = callee.partition(".")[0] in ("torch", "F", "nn", "np", "math")
        words = {a.keyword.value: cst.Module([]).code_for_node(a.value) for a in node.args if a.keyword}
        plain = [a.value for a in node.args if not a.keyword]
        function = survey.called(scope, callee)
        if function is None and callee:
            holder = self._maker(scope, callee)
            if holder is not None:
                if survey.is_module(dotted(holder.func)):
                    function = survey.functions.get(f"{dotted(holder.func)}.forward")
                elif LOSS.match(last(dotted(holder.func))):
                    words = {a.keyword.value: cst.Module([]).code_for_node(a.value) for a in holder.args if a.keyword}
                    return _reduction(words)
        if function is not None:
            entered = (function.name, "return")
            if entered in seen:
                return UNKNOWN
            found = [
                self.kind(where, values[0], seen | {entered})
                for where, values in survey.returns
                if where == function.name and len(values) == 1
            ]
            return _total(found) if found else UNKNOWN
        if (method in ("len",) and plain) or method in ("size", "numel"):
            return SUM if not self._whole(scope, node) else CONSTANT
        if method in ("sum", "mean", "nansum", "norm"):
            of = plain[0] if library and plain else owner
            dimensions = plain[1:] if library else plain
            if of is None or self._of_weights(scope, of):
                return CONSTANT if of is not None else UNKNOWN
            if dimensions or "dim" in words or "axis" in words or "keepdim" in words:
                given = [cst.Module([]).code_for_node(d) for d in dimensions] + [
                    words.get("dim", words.get("axis", ""))
                ]
                return ROWS if "0" not in given and not any("(0" in g or "[0" in g for g in given) else UNKNOWN
            if method == "norm":
                return UNKNOWN
            return SUM if method in ("sum", "nansum") else MEAN
        if LOSS.match(method):
            return _reduction(words)
        if method in SAME_KIND:
            if owner is not None and not library:
                return self.kind(scope, owner, seen)
            return self.kind(scope, plain[0], seen) if plain else UNKNOWN
        if method in ("exp", "log", "pow", "relu", "sigmoid", "tanh", "where", "eq", "argmax", "max", "min"):
            return ROWS
        return UNKNOWN

    def _maker(self, scope: str, name: str) -> cst.Call | None:
        """Return the call that made what a name holds, as `criterion = nn.BCELoss()`."""
        origins = self.flow.origins(scope, cst.parse_expression(name))
        made = [origin.made.value for origin in origins if origin.made is not None]
        value = made[0] if len(made) == 1 else None
        while isinstance(value, cst.Call) and isinstance(value.func, cst.Attribute) and value.func.attr.value in SAME:
            value = value.func.value  # `Loss().to(device)`
        return value if isinstance(value, cst.Call) else None

    def _whole(self, scope: str, node: cst.Call) -> bool:
        """Return whether a length is that of a loader or of a data set, not of a batch."""
        code = cst.Module([]).code_for_node(node)
        return ".dataset" in code or any(self.survey.role(scope, a.value) == "loader" for a in node.args)

    def _of_weights(self, scope: str, node: cst.BaseExpression) -> bool:
        """Return whether an expression is about the parameters of a model, not about a batch."""
        if WEIGHTS.search(cst.Module([]).code_for_node(node)):
            return True
        held = names(node)
        return any(
            use.scope == scope
            and isinstance(use.node, cst.For)
            and names(use.node.target) & held
            and WEIGHTS.search(cst.Module([]).code_for_node(use.node.iter))
            for use in self.survey.loops
        )


def _reduction(words: dict[str, str]) -> str:
    given = words.get("reduction", "'mean'").strip("\"'")
    if words.get("size_average") == "False":
        return SUM
    if words.get("reduce") == "False":
        return ROWS
    return {"mean": MEAN, "batchmean": MEAN, "elementwise_mean": MEAN, "sum": SUM, "none": ROWS}.get(given, UNKNOWN)


def _total(kinds: list[str]) -> str:
    """Judge a sum of several things: constants and what is not known leave the others as they are."""
    known = {kind for kind in kinds if kind in (SUM, MEAN, ROWS, MIXED)}
    if not known:
        return CONSTANT if kinds and all(kind == CONSTANT for kind in kinds) else UNKNOWN
    if len(known) == 1:
        return known.pop()
    return ROWS if ROWS in known else MIXED


def _product(left: str, right: str) -> str:
    if CONSTANT in (left, right) or UNKNOWN in (left, right):
        other = right if left in (CONSTANT, UNKNOWN) else left
        return UNKNOWN if UNKNOWN in (left, right) and other == CONSTANT else other
    if {left, right} == {MEAN, SUM}:
        return SUM  # the mean of a batch times its rows
    return left if left == right else ROWS if ROWS in (left, right) else MIXED


def _quotient(left: str, right: str) -> str:
    if left == SUM and right == SUM:
        return MEAN
    if left == SUM and right == UNKNOWN:
        return UNKNOWN
    return left
