"""Writes docs/plan.schema.json: the JSON Schema of `plan.json`.

python scripts/plan_schema.py > docs/plan.schema.json
"""

import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "schema"), str(ROOT / "compiler")]

from recipec.manifest import schema  # noqa: E402


def text() -> str:
    """Return the schema as the file holds it."""
    return json.dumps(schema(), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    sys.stdout.write(text())
