"""`swift deploy` of a tiny EDDM on loopback."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def serve(model: Path, name: str) -> Iterator[str]:
    """Starts an OpenAI-compatible server and gives its base URL; skips the test where ms-swift is not installed.

    Args:
        model: Checkpoint folder of a `minicpmv4_6`.
        name: The served model's name.
    """
    swift = pytest.importorskip("swift", reason="ms-swift is not installed: pip install -r requirements.txt")
    from swift.pipelines import run_deploy

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    arguments = swift.DeployArguments(
        model=str(model),
        model_type="minicpmv4_6",
        template="minicpmv4_6",
        torch_dtype="float32",
        attn_impl="sdpa",
        host="127.0.0.1",
        port=port,
        served_model_name=name,
        infer_backend="transformers",
        device_map="cpu",
        log_interval=-1,
        verbose=False,
        load_args=False,
    )
    with run_deploy(arguments, return_url=True) as url:
        yield url
