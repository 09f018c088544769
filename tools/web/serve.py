"""Serve this folder on localhost, with the headers that give ONNX Runtime Web its threads.

Any static file server will do; without these two headers the model runs on one thread.

    python tools/web/serve.py
"""

from __future__ import annotations

import argparse
from contextlib import suppress
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

ISOLATION = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
}


class Handler(SimpleHTTPRequestHandler):
    """Static files, cross-origin isolated, never from a stale cache."""

    extensions_map = SimpleHTTPRequestHandler.extensions_map | {
        ".js": "text/javascript",
        ".mjs": "text/javascript",
        ".wasm": "application/wasm",
        ".onnx": "application/octet-stream",
    }
    isolated = True

    def end_headers(self) -> None:
        """Add the headers to every answer."""
        self.send_header("Cache-Control", "no-cache")
        if self.isolated:
            for name, value in ISOLATION.items():
                self.send_header(name, value)
        super().end_headers()

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Keep quiet about what went well."""


class Plain(Handler):
    """The same without isolation, as a plain static file server is."""

    isolated = False


def main() -> None:
    """Serve until interrupted."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--port", type=int, default=8000, help="0 takes a free one [8000]")
    parser.add_argument(
        "--folder", type=Path, default=Path(__file__).parent, help="what to serve [this folder]"
    )
    parser.add_argument("--plain", action="store_true", help="without the headers: one thread")
    arguments = parser.parse_args()
    handler = partial(Plain if arguments.plain else Handler, directory=str(arguments.folder))
    with ThreadingHTTPServer(("127.0.0.1", arguments.port), handler) as server:
        print(f"http://127.0.0.1:{server.server_port}/", flush=True)
        with suppress(KeyboardInterrupt):
            server.serve_forever()


if __name__ == "__main__":
    main()
