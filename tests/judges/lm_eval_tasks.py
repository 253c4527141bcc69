"""Print what lm-evaluation-harness makes of names of tasks, as JSON: for each the tasks that are asked, with their own examples and outputs.

`python -P lm_eval_tasks.py NAME …` (without its own folder on the path, where modules have the names of tools); a name that is not known is null.
"""

import json
import sys

from lm_eval.tasks import TaskManager

MANAGER = TaskManager()


def leaves(name):
    entry = MANAGER.task_index[name]
    if entry.kind.name == "TASK":
        return [name]
    inner = sorted(entry.tags) if entry.cfg is None else entry.cfg["task"]
    return [
        leaf for one in inner for leaf in leaves(one if isinstance(one, str) else one.get("task", one.get("group")))
    ]


def told(name):
    own = MANAGER.task_index[name].cfg
    return {"few_shot": own.get("num_fewshot"), "output": own["output_type"]}


names = sys.argv[1:]
found = {name: {leaf: told(leaf) for leaf in leaves(name)} if name in MANAGER.task_index else None for name in names}
json.dump(found, sys.stdout)
