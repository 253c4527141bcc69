"""Where what a name holds comes from: the models that are trained, and the statement that made each loader."""

from typing import NamedTuple

import libcst as cst

from recipec.adopt.survey import SAME, Assignment, Key, Survey
from recipec.adopt.tree import dotted, last


class Origin(NamedTuple):
    """Where something gets its first name: an assignment, or the parameter that it is handed to without one.

    `made` is None and `function` empty where nobody in the script says what it is.
    """

    name: str
    made: Assignment | None = None
    function: str = ""


class Flow:
    """Follows models and loaders through the names that a survey found."""

    def __init__(self, survey: Survey) -> None:
        self.survey = survey
        self.bindings = [
            (use.scope, function, name, argument)
            for use in survey.calls
            if isinstance(use.node, cst.Call)
            for function, name, argument in survey.bound(use.scope, use.node)
        ]
        self.trained = self._trained()

    def is_trained(self, scope: str, node: cst.CSTNode) -> bool:
        """Return whether an expression is a model that an optimiser of the script trains."""
        name = dotted(node)
        return bool(name) and self.survey.key(scope, name) in self.trained

    def _trained(self) -> frozenset[Key]:
        survey = self.survey
        found = {
            survey.key(use.scope, name)
            for use in survey.calls
            if isinstance(use.node, cst.Call) and survey.results(use.scope, use.node) == ("optimizer",)
            for name in survey.trains(use.scope, use.node)
        }
        same: list[tuple[Key, Key]] = []
        for made in survey.assignments:
            source = alias(made.value)
            if source and len(made.targets) == 1 and made.targets[0]:
                same.append((survey.key(made.scope, made.targets[0]), survey.key(made.scope, source)))
            function = survey.called(made.scope, dotted(made.value.func)) if isinstance(made.value, cst.Call) else None
            for where, values in survey.returns if function is not None else ():
                if function is not None and where == function.name and len(values) == len(made.targets):
                    for target, value in zip(made.targets, values, strict=True):
                        if target and alias(value):
                            same.append((survey.key(made.scope, target), survey.key(where, alias(value))))
        handed = [((f.name, name), survey.key(scope, alias(a))) for scope, f, name, a in self.bindings if alias(a)]
        self._close(found, [*same, *((b, a) for a, b in same), *handed])  # from a parameter to what is handed to it
        self._close(found, [*same, *((b, a) for a, b in same), *((b, a) for a, b in handed)])  # and on from there
        return frozenset(found)

    @staticmethod
    def _close(found: set[Key], edges: list[tuple[Key, Key]]) -> None:
        size = -1
        while len(found) != size:
            size = len(found)
            found |= {after for before, after in edges if before in found}

    def origins(self, scope: str, node: cst.BaseExpression, seen: frozenset[Key] = frozenset()) -> frozenset[Origin]:
        """Return every place where what an expression holds may come from."""
        survey, name = self.survey, alias(node)
        if not name:
            return frozenset([Origin("")])
        key = survey.key(scope, name)
        if key in seen:
            return frozenset()
        found: set[Origin] = set()
        for made in survey.assignments:
            if name in made.targets and survey.key(made.scope, name) == key:
                source = alias(made.value) if len(made.targets) == 1 else ""
                if source and survey.key(made.scope, source) == key:
                    continue  # `model = model.to(device)`
                found |= self.origins(made.scope, made.value, seen | {key}) if source else {Origin(name, made)}
        function = survey.functions.get(key[0])
        if function is not None and name in function.parameters:
            handed = [(where, value) for where, f, parameter, value in self.bindings if (f.name, parameter) == key]
            for where, value in handed:
                found |= (
                    self.origins(where, value, seen | {key}) if alias(value) else {Origin(name, function=function.name)}
                )
            if not handed and not found:  # `f(*arguments)` hands it something too
                starred = any(
                    isinstance(use.node, cst.Call)
                    and any(a.star for a in use.node.args)
                    and survey.called(use.scope, dotted(use.node.func)) is function
                    for use in survey.calls
                )
                found.add(Origin(name, function=function.name if starred else ""))
        return frozenset(found or {Origin(name)})


def alias(node: cst.BaseExpression) -> str:
    """Return the name whose object an expression is: of `model.to(device)`, `torch.compile(model)` and `model` itself."""
    if isinstance(node, cst.Call):
        if isinstance(node.func, cst.Attribute) and node.func.attr.value in SAME:
            return alias(node.func.value)
        if last(dotted(node.func)) == "compile" and node.args:
            return alias(node.args[0].value)
        return ""
    return dotted(node)
