"""How a loop that evaluates is placed: its batches shared and what is found gathered, or every process alone.

Sharing is only sure where the loop is plain: one forward pass with a named output, whose rows are those of the batch,
and nothing but that output and the batch goes into what is computed. Then the gathered rows are those of one process.
Anything else is evaluated by every process in full, which is slower and right whatever the loop does.
"""

from collections.abc import Iterator
from typing import NamedTuple

import libcst as cst

from recipec.adopt.flow import Flow
from recipec.adopt.survey import Use
from recipec.adopt.tree import calls, dotted, last, names

# A row of the result is a row of what they are given.
ROWWISE = frozenset(
    [
        *("argmax", "argmin", "softmax", "log_softmax", "sigmoid", "tanh", "relu", "exp", "squeeze", "unsqueeze", "detach"),
        *("float", "double", "long", "int", "half", "bool", "cpu", "clone", "contiguous", "round", "clamp", "abs"),
    ]
)  # fmt: skip
MOVES = frozenset(["to", "cuda", "view", "reshape", "flatten", "type", "requires_grad_"])
# Where one of these words stands, a batch may not be a tensor of rows, or its rows not those of the data set in order.
UNSURE = ("collate_fn", "sampler", "IterableDataset", "torch_geometric", "dgl", "torchtext", "RNN", "LSTM", "GRU", "permute(1, 0", "transpose(0, 1", "transpose(1, 0")  # fmt: skip
PARTS = frozenset(["logits", "loss", "last_hidden_state", "pooler_output", "hidden_states", "out"])


class Gather(NamedTuple):
    """The names to gather after the forward pass of an evaluation."""

    names: tuple[str, ...]


def batch_target(flow: Flow, use: Use) -> tuple[cst.CSTNode, str]:
    """Return what holds the batch in a loop, and the name that counts batches: of `for i, batch in enumerate(loader)`."""
    assert isinstance(use.node, cst.For)
    target, over = use.node.target, use.node.iter
    while isinstance(over, cst.Call) and over.args and last(dotted(over.func)) in ("tqdm", "track"):
        over = over.args[0].value
    counted = isinstance(over, cst.Call) and last(dotted(over.func)) == "enumerate"
    if isinstance(over, cst.Name):
        sources = [m.value for m in flow.survey.assignments if over.value in m.targets and m.scope == use.scope]
        counted = any("enumerate(" in cst.Module([]).code_for_node(value) for value in sources)
    if counted and isinstance(target, cst.Tuple) and len(target.elements) == 2:
        return target.elements[1].value, dotted(target.elements[0].value)
    return target, ""


def shared(flow: Flow, use: Use, text: str) -> tuple[cst.CSTNode, Gather] | None:
    """Return the forward pass of a loop that evaluates and what to gather after it; None where that is not sure."""
    node, code = use.node, cst.Module([]).code_for_node
    assert isinstance(node, cst.For)
    sequence_first = ("nn.Transformer" in text or "MultiheadAttention" in text) and "batch_first=True" not in text
    if (
        sequence_first
        or any(word in text for word in UNSURE)
        or len(flow.survey.loaders(use.scope, node.iter)) != 1
        or _leaves(node)
    ):
        return None
    statements = list(_direct(node.body))
    asked = [call for call in calls(node.body) if flow.is_trained(use.scope, call.func)]
    if len(asked) != 1:
        return None
    forward = next((s for s in statements if asked[0] in set(calls(s))), None)
    made = next((m for m in flow.survey.assignments if m.statement is forward), None)
    if forward is None or made is None or len(made.targets) != 1 or "." in made.targets[0] or not made.targets[0]:
        return None
    if not _rows_of(made.value, asked[0]):
        return None
    target, counter = batch_target(flow, use)
    output, at = made.targets[0], statements.index(forward)
    rows, derived = _before(flow, statements[:at], target)
    if rows is None or output in _stored(statements[at + 1 :]):
        return None
    after = statements[at + 1 :]
    read = {name for s in after for name in names(s)}
    if read & derived or any("batch_size" in code(s) for s in after) or not _plain(after, output):
        return None
    if counter and any(counter in names(s) for s in after if not isinstance(s, cst.If)):
        return None
    whole = names(target) if isinstance(target, cst.Name) else set[str]()
    if any(not _tensor(flow, use, name) for name in read & whole):
        return None  # a dictionary, whose values may be texts
    return forward, Gather((output, *sorted(read & rows - {output})))


def _leaves(node: cst.For) -> bool:
    """Return whether a loop may end early or skip rows: processes would no longer wait for one another."""

    def inside(node: cst.CSTNode, nested: bool) -> bool:
        if isinstance(node, cst.Return | cst.Raise) or (isinstance(node, cst.Break | cst.Continue) and not nested):
            return True
        deeper = nested or isinstance(node, cst.For | cst.While)
        return not isinstance(node, cst.FunctionDef) and any(inside(child, deeper) for child in node.children)

    return any(inside(child, False) for child in node.body.children)


def _direct(body: cst.BaseSuite) -> Iterator[cst.CSTNode]:
    """Yield the statements of a block in their order; of a `with`, those in it."""
    for statement in body.body:
        if isinstance(statement, cst.With):
            yield from _direct(statement.body)
        else:
            yield statement


def _rows_of(value: cst.BaseExpression, forward: cst.Call) -> bool:
    """Return whether each row of a value belongs to one row of what a forward pass returned."""
    if value is forward:
        return True
    if isinstance(value, cst.Call):
        if last(dotted(value.func)) in ROWWISE and value.args and not _over_rows(value):
            return _rows_of(value.args[0].value, forward)
        if isinstance(value.func, cst.Attribute) and value.func.attr.value in ROWWISE and not _over_rows(value):
            return _rows_of(value.func.value, forward)
    return False


def _over_rows(call: cst.Call) -> bool:
    """Return whether a reduction may go over the rows, or over everything: no dimension, or dimension 0."""
    method = call.func.attr.value if isinstance(call.func, cst.Attribute) else dotted(call.func)
    if method not in ("argmax", "argmin", "softmax", "log_softmax", "squeeze", "unsqueeze"):
        return False
    given = [cst.Module([]).code_for_node(argument.value) for argument in call.args]
    return "0" in given or (method in ("argmax", "argmin") and not set(given) & {"1", "2", "-1", "-2"})


def _before(flow: Flow, statements: list[cst.CSTNode], target: cst.CSTNode) -> tuple[set[str] | None, set[str]]:
    """Return the names that hold rows of the batch before the forward pass, and the names of what else is made of it.

    The first is None where something is counted or kept there already, which a gathering after it would miss.
    """
    rows, derived = names(target), set[str]()
    for statement in statements:
        small = statement.body[0] if isinstance(statement, cst.SimpleStatementLine) else None
        if isinstance(small, cst.Expr) and isinstance(small.value, cst.SimpleString):
            continue
        if isinstance(statement, cst.If) and all(isinstance(s, cst.SimpleStatementLine) for s in statement.body.body):
            inner, other = _before(flow, list(statement.body.body), target)
            if inner is None or other or statement.orelse is not None:
                return None, derived
            continue  # `if cuda: x = x.cuda()`
        made = [m for m in flow.survey.assignments if m.statement is statement]
        if not isinstance(small, cst.Assign) or not made or any("." in t or not t for m in made for t in m.targets):
            return None, derived
        for one in made:
            keeps = _row_name(one.value, rows)
            into = rows if keeps else derived if names(one.value) & (rows | derived) else set[str]()
            into |= set(one.targets)
            if not keeps:
                rows -= set(one.targets)
    return rows, derived


def _row_name(value: cst.BaseExpression, rows: set[str]) -> bool:
    """Return whether a value is the batch, or a part of it with the same rows: `batch[0]`, `x.to(device)`, `x.float()`."""
    if isinstance(value, cst.Name):
        return value.value in rows
    if isinstance(value, cst.Subscript) and len(value.slice) == 1:
        index = value.slice[0].slice
        constant = isinstance(index, cst.Index) and isinstance(index.value, cst.SimpleString | cst.Integer)
        return constant and isinstance(value.value, cst.Name) and value.value.value in rows
    if isinstance(value, cst.DictComp):
        return bool(names(value.for_in.iter) & rows)
    if isinstance(value, cst.Call) and isinstance(value.func, cst.Attribute):
        method, given = value.func.attr.value, [cst.Module([]).code_for_node(a.value) for a in value.args]
        keeps = method in (MOVES | ROWWISE) - {"argmax", "argmin"}
        if method in ("view", "reshape"):  # the first dimension has to stay
            keeps = bool(given) and (
                given[0] == "-1" or ".size(0)" in given[0] or ".shape[0]" in given[0] or "len(" in given[0]
            )
        if method == "flatten":
            keeps = given[:1] == ["1"] or "start_dim=1" in cst.Module([]).code_for_node(value)
        if method == "unsqueeze":
            keeps = "0" not in given
        return keeps and _row_name(value.func.value, rows)
    return False


def _stored(statements: list[cst.CSTNode]) -> set[str]:
    return {dotted(call.func) for statement in statements for call in calls(statement)}


def _plain(statements: list[cst.CSTNode], output: str) -> bool:
    """Return whether an output is used as one tensor: neither as a record with parts, nor as a tuple."""

    def fits(node: cst.CSTNode) -> bool:
        if isinstance(node, cst.Attribute) and dotted(node.value) == output and node.attr.value in PARTS:
            return False
        if isinstance(node, cst.Subscript) and dotted(node.value) == output and len(node.slice) == 1:
            index = node.slice[0].slice
            if isinstance(index, cst.Index) and isinstance(index.value, cst.Integer | cst.SimpleString):
                return False
        return all(fits(child) for child in node.children)

    return all(fits(statement) for statement in statements)


def _tensor(flow: Flow, use: Use, name: str) -> bool:
    """Return whether a batch with one name is known to hold tensors only, because all of it is moved or converted."""
    assert isinstance(use.node, cst.For)
    for made in flow.survey.assignments:
        inside = any(node is use.node for node in flow.survey.above(made.statement))
        if inside and made.targets == (name,) and isinstance(made.value, cst.DictComp | cst.Call):
            moved = made.value.value if isinstance(made.value, cst.DictComp) else made.value
            if (
                isinstance(moved, cst.Call)
                and isinstance(moved.func, cst.Attribute)
                and moved.func.attr.value in MOVES | ROWWISE
            ):
                return True
    return False
