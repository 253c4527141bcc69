"""Ask Axolotl: what `axolotl train` does before it looks at the model. A job: {"file", "cwd", "gpu", "world"}."""

from importlib import import_module
from pathlib import Path

from asking import Job, judging, run


def validate(job: Job) -> None:
    """Read by PyYAML, load the plugins, validate. Raises whatever Axolotl raises."""
    cfg = import_module("axolotl.utils.dict").DictDefault(
        import_module("yaml").safe_load(Path(job["file"]).read_text(encoding="utf-8"))
    )
    import_module("axolotl.cli.config").prepare_plugins(cfg)
    gpu = job["gpu"]
    sm = int(gpu["sm"].removeprefix("sm_"))
    capabilities = {"bf16": gpu["bf16"], "fp8": sm >= 89, "tf32": sm >= 80, "n_gpu": job["world"], "n_node": 1}
    with judging.environment(WORLD_SIZE=job["world"]):
        import_module("axolotl.utils.config").validate_config(
            cfg,
            capabilities=capabilities | {"compute_capability": gpu["sm"]},
            env_capabilities={"torch_version": import_module("torch").__version__.split("+")[0]},
        )


if __name__ == "__main__":
    run(validate)
