"""A small OpenAI-compatible server that misbehaves on demand."""

import contextlib
import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Server:
    """Answers by `behave(number of the request, its body)`: text, (status, text), a named accident, or a function."""

    def __init__(self, port: int = 0) -> None:
        self.behave: Callable[[int, dict[str, Any]], Any] = lambda number, body: "A"
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[Any] = []
        self.paths: list[str] = []
        self.release = threading.Event()
        self.lock = threading.Lock()
        self.under_way = self.most = 0
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                with contextlib.suppress(ConnectionError):  # whoever asked has gone
                    outer.handle(self)

            def log_message(self, *_: Any) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}/v1"
        threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def close(self) -> None:
        """Ends it, for good; may be called twice."""
        self.release.set()
        self.http.shutdown()
        self.http.server_close()

    def handle(self, handler: BaseHTTPRequestHandler) -> None:
        body = json.loads(handler.rfile.read(int(handler.headers["Content-Length"])))
        with self.lock:
            self.bodies.append(body)
            self.paths.append(handler.path)
            self.headers.append(handler.headers)
            number = len(self.bodies)
            self.under_way += 1
            self.most = max(self.most, self.under_way)
        answer = self.behave(number, body)
        with self.lock:
            self.under_way -= 1
        if callable(answer):  # writes what it likes
            answer(handler)
            handler.close_connection = True
            return
        if answer == "hang":
            self.release.wait(5)
            return
        if answer == "die":  # half an answer, then nothing
            handler.send_response(200)
            handler.send_header("Content-Type", "application/json")
            handler.send_header("Content-Length", "5000")
            handler.end_headers()
            handler.wfile.write(b'{"choices": [')
            handler.close_connection = True
            return
        status, text = answer if isinstance(answer, tuple) else (200, reply(answer))
        data = text.encode()
        handler.send_response(status)
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Content-Length", str(len(data)))
        if status == 429:
            handler.send_header("Retry-After", "0.01")
        handler.end_headers()
        handler.wfile.write(data)


def reply(text: str | None) -> str:
    message = {"role": "assistant", "content": text}
    choice = {"index": 0, "finish_reason": "stop", "message": message}
    return json.dumps({"id": "1", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice]})
