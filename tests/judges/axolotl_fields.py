"""Say which keys of Axolotl files no field of Axolotl's own models takes, at every depth; also where validation refuses.

A job: {"file": ...}. Plugins of the file add their models, and `rl` chooses the model of a dataset, as in `validate_config`.
"""

import typing
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

from judging import Job, run

# Keys that Axolotl's validators, which run before its fields are looked at, move elsewhere or refuse by name.
TAKEN = {
    "": {
        "batch_size", "message_field_role", "message_field_content", "version", "model_config", "model_kwargs", "model_type", "model_revision",
    }
}  # fmt: skip


def judge(job: Job) -> list[str]:
    """Return the dead keys. Raises what the file's plugins raise."""
    given = import_module("yaml").safe_load(Path(job["file"]).read_text(encoding="utf-8"))
    cli = import_module("axolotl.cli.config")
    schema = import_module("axolotl.utils.schemas.config").AxolotlInputConfig
    import_module("axolotl.integrations.base").PluginManager.get_instance().plugins.clear()
    cfg = import_module("axolotl.utils.dict").DictDefault(given)
    if given.get("plugins"):
        cli.prepare_plugins(cfg)
        schema = import_module("axolotl.integrations.config").merge_input_args()[1]
    return list(dead(schema, given, "", given))


def dead(model: Any, values: dict[str, Any], path: str, root: dict[str, Any]) -> Iterator[str]:
    """Yield the dotted keys that a model has no field for; null says nothing anywhere."""
    fields = {}
    for name, field in model.model_fields.items():
        other = field.validation_alias
        for spelling in (name, field.alias, *getattr(other, "choices", [other])):
            fields[spelling] = field
    for key, value in values.items():
        name = str(key)
        if path == "fsdp_config.":
            name = name if name in fields else name.removeprefix("fsdp_")
        if name not in fields and name.replace("/", ".") not in fields:
            if value is not None and not (path == "" and name in TAKEN[""]):
                yield f"{path}{key}"
            continue
        inner = models(fields.get(name).annotation) if name in fields else []
        items = value if isinstance(value, list) else [value]
        if path == "" and key == "datasets":
            inner = [dataset(root)]
        for index, item in enumerate(items):
            if isinstance(item, dict) and inner:
                where = f"{path}{key}." + (f"{index}." if isinstance(value, list) else "")
                yield from min((list(dead(one, item, where, root)) for one in inner), key=len)


def models(annotation: Any) -> list[Any]:
    """Return the models that a type may hold."""
    base = import_module("pydantic").BaseModel
    if isinstance(annotation, type) and issubclass(annotation, base):
        return [annotation]
    return [found for part in typing.get_args(annotation) for found in models(part)]


def dataset(root: dict[str, Any]) -> Any:
    """Return the model of an entry of `datasets`."""
    module = import_module("axolotl.utils.schemas.datasets")
    if root.get("rl") in ("dpo", "ipo", "simpo"):
        return module.DPODataset
    return module.KTODataset if root.get("rl") == "kto" else module.SFTDataset


if __name__ == "__main__":
    run(judge)
