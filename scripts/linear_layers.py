"""Print the name of every linear layer in transformers' models, one a line: what LoRA can be told to adapt.

Run it under the python of an environment that holds transformers:
`PYTHON scripts/linear_layers.py > compiler/recipec/doctor/linear_layers.txt`.
"""

import ast
import sys
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

# Layers that PEFT's LoRA adapts: what constructs one, by the name that is called.
KINDS = ("Linear", "Conv1D", "Embedding", "Conv2d", "Conv1d", "Conv3d")


def main() -> None:
    """Read every modelling file, without running it."""
    spec = find_spec("transformers")
    assert spec is not None
    assert spec.origin is not None
    names = set()
    for path in (Path(spec.origin).parent / "models").rglob("modeling_*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call):
                called = node.value.func
                kind = called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")
                if kind.endswith(KINDS):
                    names |= {target.attr for target in node.targets if isinstance(target, ast.Attribute)}
    sys.stdout.write(f"# transformers {version('transformers')}, by scripts/linear_layers.py\n")
    sys.stdout.write("".join(f"{name}\n" for name in sorted(names)))


if __name__ == "__main__":
    main()
