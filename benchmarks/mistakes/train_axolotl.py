"""Really train Axolotl configurations on the CPU, each in a process of its own; under an Axolotl environment's Python.

Argument: a file that holds a JSON list of configuration files. Standard output: for each, null where `axolotl train` came
to its end, else the error. The imports, most of the time, are made once: every training is a fork of this process.
"""

import json
import os
import sys
from pathlib import Path

os.environ |= {"CUDA_VISIBLE_DEVICES": "", "AXOLOTL_DO_NOT_TRACK": "1", "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}


def main() -> None:
    """Train each by what `axolotl train --launcher python` calls."""
    files = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    out = os.dup(1)
    os.dup2(2, 1)  # what Axolotl prints is not the answer
    import axolotl.common.datasets
    import axolotl.core.builders
    import axolotl.loaders
    import axolotl.train  # noqa: F401  # what a training would import later, in every fork anew
    from axolotl.cli.train import do_cli

    answers = []
    for file in files:
        said = Path(file).with_suffix(".error")
        child = os.fork()
        if not child:
            try:
                do_cli(config=file)
            except BaseException as error:  # whatever ends the training is the answer
                said.write_text(f"{type(error).__name__}: {error}", encoding="utf-8")
                os._exit(1)
            os._exit(0)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        answers.append((said.read_text(encoding="utf-8") if said.exists() else f"exit code {code}") if code else None)
        print(file, answers[-1], file=sys.stderr, flush=True)
    with os.fdopen(out, "w", encoding="utf-8") as stream:
        json.dump(answers, stream)


if __name__ == "__main__":
    main()
