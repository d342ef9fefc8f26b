"""python -m scripts.chat image=PHOTO run=RUN|tiny|export=DIR|mllm=MODEL [chat.backend=transformers|swift|api].

Talks about a photo: a line of stdin is a question, its answer goes to stdout. /ad, /rdl, /dfm and /dc ask DDQA's four
questions; /help says what they are, /quit or the end of the input ends. run=tiny is the EDDM that ships with the code.
Exit code 1: a line got no answer, stderr says why.
"""

import sys
from collections.abc import Iterator
from contextlib import suppress

from models.talk import TalkConfig, explain, open_dialogue, talk
from scripts.command import command
from scripts.terminal.quiet import stdout_to_stderr


def read_lines() -> Iterator[str]:
    """Lines of stdin; at a terminal with a prompt and the keys that edit a line."""
    if not sys.stdin.isatty():
        yield from (line.decode(errors="replace") for line in sys.stdin.buffer)
        return
    with suppress(ImportError):
        import readline  # noqa: F401  (gives `input` the arrow keys)
    print(explain())
    while True:
        try:
            yield input("> ")
        except EOFError:
            return


def say(answer: str) -> None:
    """At once, for whoever waits at the other end of a pipe."""
    print(answer, flush=True)


@command("chat", TalkConfig)
def main(config: TalkConfig) -> None:
    """Talks about a photo."""
    with stdout_to_stderr():
        dialogue = open_dialogue(config)
    if talk(dialogue, read_lines(), say):
        sys.exit(1)


if __name__ == "__main__":
    main()
