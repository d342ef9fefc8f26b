"""python -m scripts.benchmarks.api [questions=800] [concurrency=8] [milliseconds=50]: answers a second of a server.

A server of its own process answers every question after so long. Ideal is `concurrency` answers in that time; what is
missing is what the client costs: pictures to encode and send, replies to read, and MMAD's log on the disk. Bare
connections that send the same bytes, encoded before, show what server and machine cost.
"""

import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import cv2
import numpy as np

from data.mmad import MMADImage, Question
from eval.mmad.answers import AnswerKey, ask_open
from eval.mmad.prompt import Planned
from models.chat.api import ApiChat, encode_image
from models.chat.config import ApiConfig
from models.chat.protocol import ChatRequest
from scripts.benchmarks.words import read_words

REPLY = b'{"choices": [{"message": {"role": "assistant", "content": "B"}}]}'
EACH = 4  # questions an image, as in MMAD
TARGET = 0.9


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs each and prints a line."""
    words = read_words(__doc__, {"questions": "800", "concurrency": "8", "milliseconds": "50"}, arguments)
    questions, concurrency, milliseconds = (int(words[name]) for name in ("questions", "concurrency", "milliseconds"))
    ideal = 1000 * concurrency / milliseconds
    command = [sys.executable, "-c", f"from scripts.benchmarks.api import serve; serve({milliseconds / 1000})"]
    with (
        tempfile.TemporaryDirectory() as folder,
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server,
    ):
        assert server.stdout is not None
        try:
            config = ApiConfig(base_url=f"http://127.0.0.1:{int(server.stdout.readline())}/v1", concurrency=concurrency)
            plan = _plan(Path(folder), questions)
            chat = ApiChat("m", config)
            chat.chat([plan[0].request])  # the first connection is not counted
            address = config.base_url.split("/")[2]
            bodies = [json.dumps({"image": encode_image(one.request.image, 0)}).encode() for one in plan]
            print(f"{'what':<28}{'answers/s':>10}{'of ideal':>10}   (ideal {ideal:.0f}/s, target {TARGET})")
            started = time.perf_counter()
            _ask_barely(address, bodies, concurrency)
            _tell("bare connections", questions / (time.perf_counter() - started), ideal)
            started = time.perf_counter()
            assert chat.chat([planned.request for planned in plan]) == ["B"] * questions
            _tell("the client", questions / (time.perf_counter() - started), ideal)
            key = AnswerKey(model=chat.name, adapter="", mode="generate", setting="0-shot")
            started = time.perf_counter()
            ask_open(plan, key, Path(folder) / "answers.jsonl", chat)
            _tell("MMAD with its answer log", questions / (time.perf_counter() - started), ideal)
        finally:
            server.kill()


def serve(seconds: float) -> None:
    """Prints its port, then answers for ever."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # one packet an answer

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            time.sleep(seconds)
            self.send_response(200)
            self.send_header("Content-Length", str(len(REPLY)))
            self.end_headers()
            self.wfile.write(REPLY)

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    print(server.server_address[1], flush=True)
    server.serve_forever()


def _ask_barely(address: str, bodies: list[bytes], concurrency: int) -> None:
    """The same bytes through a thread and a connection each, with nothing around them."""

    def work() -> None:
        connection = HTTPConnection(address)
        while bodies:
            connection.request("POST", "/v1/chat/completions", bodies.pop())
            connection.getresponse().read()

    threads = [threading.Thread(target=work) for _ in range(concurrency)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _plan(folder: Path, questions: int) -> list[Planned]:
    """Questions about images of 256 x 256 pixels, as MMAD plans them."""
    rng = np.random.default_rng(0)
    plan = []
    for number in range(questions):
        path = folder / f"{number // EACH}.png"
        if not path.is_file():
            cv2.imwrite(str(path), rng.integers(0, 256, (256, 256, 3), np.uint8))
        question = Question(text=f"Question {number}?", options=("Yes.", "No."), answer="B", type="Anomaly Detection")
        image = MMADImage(
            key=f"VisA/{path.name}", dataset="VisA", category="x", path=path, questions=(question,), templates={}
        )
        plan.append(Planned(image=image, question=question, request=ChatRequest(path, question.text, 16), prompt="p"))
    return plan


def _tell(what: str, rate: float, ideal: float) -> None:
    print(f"{what:<28}{rate:>10.1f}{rate / ideal:>10.2f}")


if __name__ == "__main__":
    main()
