"""Talking about a photo in a terminal, or through a pipe: a line is a question, or a shortcut for one of DDQA's."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from data.ddqa.wording import QUESTIONS, Task
from data.errors import UserError
from data.pixels.decode import UnreadableError
from data.run import open_run
from data.sample import load_image
from models.chat.answers import plain_text
from models.chat.config import ChatConfig
from models.chat.load import load_chat
from models.device import DeviceConfig
from models.eddm.dialogue import Dialogue
from models.eddm.eddm import EDDM, TEXT_TOKENS, load_eddm
from models.exported import load_exported_eddm

log = logging.getLogger(__name__)
SHORTCUTS = {f"/{task.lower()}": task for task in (Task.AD, Task.RDL, Task.DFM, Task.DC)}
HELP, QUIT = "/help", "/quit"
NO_ANSWER = "(no answer)"


@dataclass(kw_only=True, slots=True)
class TalkConfig(DeviceConfig):
    """Which photo is talked about, and with whom; where the model runs as `DeviceConfig` says.

    Attributes:
        image: The photo.
        run: Run directory with a trained EDDM; `tiny` is the one that ships with the code.
        export: Folder that `scripts.export_adapter` wrote, with an EDDM in it.
        eddm_base: Base of an exported EDDM adapter, a folder or hub id; empty takes the hub id that the export names.
        mllm: Any other model: a checkpoint folder, a hub id, or a server's name of it.
        chat: How `mllm` is run.
        max_tokens: Most tokens of an answer in the model's own words.
        recall: Most earlier turns that a question is asked with; null is 8, and 0 for the tiny models.
        trust_remote_code: Allows code that comes with the weights; `mllm` needs its pin, too (`chat.local.revision`).
    """

    image: str
    run: str = ""
    export: str = ""
    eddm_base: str = ""
    mllm: str = ""
    chat: ChatConfig = field(default_factory=ChatConfig)
    max_tokens: int = TEXT_TOKENS
    recall: int | None = None
    trust_remote_code: bool = False


def open_dialogue(config: TalkConfig) -> Dialogue:
    """Loads the model and begins a conversation about the photo.

    Raises:
        UserError: If the photo cannot be read, or the model cannot be loaded.
    """
    given = [name for name in ("run", "export", "mllm") if getattr(config, name)]
    if len(given) != 1:
        raise UserError(f"Who answers? Give one of run=, export= and mllm=, not {' and '.join(given) or 'none'}.")
    image = Path(config.image)
    _check_photo(image)  # before the model is loaded
    dialogue = Dialogue(_load(config), image, max_tokens=config.max_tokens, recall=config.recall)
    turns = f"with up to {dialogue.recall} earlier turns" if dialogue.recall else "alone, without earlier turns"
    log.info("%s answers; each question is asked %s", dialogue.chat.name, turns)
    return dialogue


def _check_photo(path: Path) -> None:
    if not path.is_file():
        found = "is a folder" if path.is_dir() else "is no file"
        raise UserError(f"image={path} {found}. Give a photo: image=FILE.")
    try:
        load_image(path)
    except UnreadableError as error:
        raise UserError(f"image={path} cannot be read: {error.why}. Give another photo: image=FILE.") from error


def _load(config: TalkConfig) -> EDDM:
    trusted = config.trust_remote_code
    if config.run:
        return load_eddm(open_run(config.run), trust_remote_code=trusted, where=config)
    if config.export:
        config.place()  # before the weights are read
        base = config.eddm_base or None
        return load_exported_eddm(Path(config.export) / "eddm", base=base, trust_remote_code=trusted, where=config)
    return EDDM(load_chat(config.mllm, config.chat, trust_remote_code=trusted), ())


def talk(dialogue: Dialogue, lines: Iterable[str], say: Callable[[str], None]) -> int:
    """Answers line after line, until there is none left or one is `/quit`.

    Args:
        dialogue: The conversation.
        lines: What the user writes; empty lines are passed over.
        say: Takes an answer.

    Returns:
        How many lines got no answer, for a reason that the log tells; the conversation goes on after each.
    """
    faults = 0
    for line in map(str.strip, lines):
        if line == QUIT:
            break
        if not line:
            continue
        try:
            say(explain() if line == HELP else plain_text(_answer(dialogue, line)) or NO_ANSWER)
        except UserError as error:
            log.error("error: %s", error)
            faults += 1
    return faults


def explain() -> str:
    """What can be written, a line each."""
    rows = [(name, QUESTIONS[task]) for name, task in SHORTCUTS.items()]
    rows += [("/dc A, B, C", "The same, with these types to choose from.")]
    rows += [(HELP, "This."), (QUIT, "Ends the conversation, as the end of the input does.")]
    return "\n".join(f"{name:<12}{meaning}" for name, meaning in rows) + "\nAnything else is asked as it is."


def _answer(dialogue: Dialogue, line: str) -> str:
    if not line.startswith("/"):
        return dialogue.ask(line)
    word, _, rest = line.partition(" ")
    task = SHORTCUTS.get(word.lower())
    if task is None or (rest and task is not Task.DC):
        known = ", ".join([*SHORTCUTS, HELP, QUIT])
        raise UserError(f"No shortcut {line}. There are {known}.")
    return dialogue.ask_task(task, [name for part in rest.split(",") if (name := part.strip())])
