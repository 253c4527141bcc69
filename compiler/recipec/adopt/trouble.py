"""Why a script cannot be adopted."""

import libcst as cst


class Trouble(Exception):
    """Why a script cannot be adopted: the node to blame, the code and words of the finding, and what to do."""

    def __init__(self, node: cst.CSTNode, code: str, message: str, advice: str) -> None:
        super().__init__(message)
        self.node, self.code, self.message, self.advice = node, code, message, advice
