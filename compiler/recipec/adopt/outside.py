"""What a script tells the outside, and one process of several should tell."""

import libcst as cst

from recipec.adopt.survey import Survey
from recipec.adopt.tree import calls, dotted, opens_to_write

TRACKERS = frozenset(["wandb", "mlflow", "trackio", "logging"])
WRITERS = frozenset(
    [
        *("write_text", "write_bytes", "mkdir", "makedirs", "savefig", "copyfile", "copy2", "rmtree", "symlink_to"),
        *("save_image", "imsave", "imwrite", "savetxt", "savez", "to_csv", "to_json", "to_parquet", "save", "unlink"),
    ]
)  # fmt: skip
FUNCTIONS = frozenset(
    ["save_image", "copyfile", "imsave", "imwrite", "pprint", "os.remove", "sys.stdout.write", "tqdm.write"]
)


def talks(survey: Survey, scope: str, call: cst.Call) -> bool:
    """Return whether a call as a statement tells the outside something that one process should tell."""
    name, func = dotted(call.func), call.func
    method = func.attr.value if isinstance(func, cst.Attribute) else name
    if name == "torch.save":
        return False  # Accelerate's own does it in one process
    if name.partition(".")[0] in TRACKERS and name not in ("logging.basicConfig", "logging.getLogger"):
        return True
    if name in FUNCTIONS or any(opens_to_write(inner) for inner in calls(call)):
        return True
    if isinstance(func, cst.Attribute):
        role = survey.role(scope, func.value)
        if role == "tracker":
            return True
        if method == "save_pretrained" and role != "model":
            return True
    careful = any(a.keyword and a.keyword.value == "exist_ok" for a in call.args)
    return method in WRITERS and isinstance(func, cst.Attribute) and not careful
