"""A small client of the Language Server Protocol: what an editor sends, over standard input and output."""

import json
import subprocess
from pathlib import Path
from typing import Any, Self

Message = dict[str, Any]


class LanguageServer:
    """The YAML language server on one JSON Schema; every text that is opened is held against it."""

    def __init__(self, node_modules: Path, schema: Path) -> None:
        script = node_modules / "yaml-language-server" / "bin" / "yaml-language-server"
        self._process = subprocess.Popen(
            ["node", script, "--stdio"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        self._last = 0
        self._settings = {
            "yaml": {
                "schemas": {schema.as_uri(): "*.yaml"},
                "schemaStore": {"enable": False},
                "validate": True,
                "hover": True,
                "completion": True,
                "yamlVersion": "1.2",
            }
        }
        markdown = ["markdown", "plaintext"]
        abilities = {
            "textDocument": {
                "hover": {"contentFormat": markdown},
                "completion": {"completionItem": {"snippetSupport": True, "documentationFormat": markdown}},
                "publishDiagnostics": {},
            },
            "workspace": {"configuration": True},
        }
        self.ask("initialize", {"processId": None, "rootUri": None, "capabilities": abilities})
        self._tell("initialized", {})
        self._tell("workspace/didChangeConfiguration", {"settings": self._settings})
        self._opened = 0
        self._folder = (schema.parent.parent / "recipes").as_uri()  # a recipe names its schema from there

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.ask("shutdown", None)
        self._tell("exit", None)
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.close()
        self._process.wait(10)
        self._process.stdout.close()

    def open(self, text: str, name: str = "") -> tuple[str, list[Message]]:
        """Open a text as a file of its own; return its URI and what the server finds wrong in it."""
        self._opened += 1
        uri = f"{self._folder}/{name or f'{self._opened}.yaml'}"
        document = {"uri": uri, "languageId": "yaml", "version": 1, "text": text}
        self._tell("textDocument/didOpen", {"textDocument": document})
        while True:
            message = self._read()
            if message.get("method") == "textDocument/publishDiagnostics" and message["params"]["uri"] == uri:
                return uri, message["params"]["diagnostics"]

    def hover(self, text: str, line: int, character: int) -> str:
        """Return what is shown over a place, counted from 0."""
        uri, _ = self.open(text)
        found = self.ask("textDocument/hover", {"textDocument": {"uri": uri}, "position": _place(line, character)})
        return found["contents"]["value"] if found else ""

    def complete(self, text: str, line: int, character: int) -> dict[str, Message]:
        """Return what is offered at a place, by label."""
        uri, _ = self.open(text)
        found = self.ask("textDocument/completion", {"textDocument": {"uri": uri}, "position": _place(line, character)})
        return {item["label"]: item for item in found["items"]}

    def ask(self, method: str, params: Any) -> Any:
        """Send a request and return its result."""
        self._last += 1
        number = self._last
        self._send({"id": number, "method": method, "params": params})
        while True:
            message = self._read()
            if message.get("id") == number and "method" not in message:
                if "error" in message:
                    raise RuntimeError(message["error"])
                return message["result"]

    def _tell(self, method: str, params: Any) -> None:
        self._send({"method": method, "params": params})

    def _send(self, message: Message) -> None:
        data = json.dumps({"jsonrpc": "2.0", **message}).encode()
        assert self._process.stdin
        self._process.stdin.write(b"Content-Length: %d\r\n\r\n%s" % (len(data), data))
        self._process.stdin.flush()

    def _read(self) -> Message:
        """Return the next message; what the server asks of its editor is answered on the way."""
        assert self._process.stdout
        length = 0
        while line := self._process.stdout.readline().strip():
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
        if not length:
            raise EOFError("the language server has ended")
        message: Message = json.loads(self._process.stdout.read(length))
        if "id" in message and "method" in message:
            answer = None
            if message["method"] == "workspace/configuration":
                answer = [self._settings.get(item.get("section")) for item in message["params"]["items"]]
            self._send({"id": message["id"], "result": answer})
        return message


def _place(line: int, character: int) -> Message:
    return {"line": line, "character": character}
