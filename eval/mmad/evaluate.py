"""MMAD (Table III of EIAD): ask a model, or read an answer log, and score it."""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass, field, fields
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar

from data.errors import UserError
from data.files import write_json, write_jsonl, write_text
from data.mmad import MMAD, ImageLayout, MMADConfig, Skipped, TemplateKind, count_reasons, read_knowledge, read_mmad
from data.processes.lock import held
from data.ranks import Ranks, join_ranks
from data.run import open_run
from eval.mmad.answer_file import read_answer_rows
from eval.mmad.answers import AnswerKey, Row, ask_open, drop_superseded, read_answers
from eval.mmad.compat import score_as_published
from eval.mmad.prompt import AskConfig, WordingConfig, plan_questions
from eval.mmad.score import score_answers
from eval.mmad.tables import render_html, render_markdown
from models.chat.config import GREEDY, ApiConfig, ChatConfig, SwiftNames, VLMConfig
from models.chat.load import load_chat, load_scorer
from models.chat.protocol import ChatModel, OptionScorer
from models.device import DeviceConfig
from models.eddm.eddm import load_eddm

log = logging.getLogger(__name__)
Part = TypeVar("Part", MMADConfig, AskConfig, ChatConfig)
NAMED = 5  # skipped questions that are named on the screen


class MMADMode(StrEnum):
    """How answers are got and scored.

    `likelihood`: the option whose letter is the likeliest next token. `generate`: a strictly read reply; one that
    cannot be read is wrong. `mmad-compat`: replies as in `generate`, read and scored as the public scorer does.
    """

    likelihood = "likelihood"
    generate = "generate"
    mmad_compat = "mmad-compat"


@dataclass(kw_only=True, slots=True)
class EvalMMADConfig(DeviceConfig):
    """What to evaluate; other fields: those of `DeviceConfig`, `MMADConfig`, `AskConfig` and `ChatConfig`.

    Attributes:
        mode: A `MMADMode`.
        answers: Answer log: scored when no model is given; with a model, it is continued. Empty: `answers.jsonl` in
            `out`.
        run: Run directory whose EDDM is asked.
        use_adapter: False asks the base of `run` without its LoRA.
        mllm: Any other model that is asked: folder, hub id, or a server's name of it.
        trust_remote_code: Allows code that comes with the weights; `mllm` needs its pin, too (`local.revision`).
        out: Folder of the results. Empty: `RUN/eval/mmad`, or the folder of `answers`, or `outputs/mmad`.
    """

    data_root: str
    wording: WordingConfig
    mode: str = MMADMode.likelihood.value  # a string: as an enum the config could not spell mmad-compat
    answers: str = ""
    run: str = ""
    use_adapter: bool = True
    mllm: str = ""
    trust_remote_code: bool = False
    out: str = ""
    layout: ImageLayout = ImageLayout.mmad
    mvtec_root: str = ""
    visa_root: str = ""
    shots: int = 0
    template: TemplateKind = TemplateKind.random
    knowledge: bool = False
    max_tokens: int = 16
    backend: str = "transformers"
    adapter: str = ""
    local: VLMConfig = field(default_factory=VLMConfig)
    swift: SwiftNames = field(default_factory=SwiftNames)
    api: ApiConfig = field(default_factory=ApiConfig)
    options: dict[str, Any] = field(default_factory=dict)

    def part(self, kind: type[Part]) -> Part:
        """The part that a function of another module takes."""
        return kind(**{one.name: getattr(self, one.name) for one in fields(kind)})


def evaluate_mmad(config: EvalMMADConfig) -> dict[str, Any]:
    """Asks or reads, scores, and writes `results.json`, `mmad.md`, `mmad.html` and `skipped.jsonl` to `out`.

    Under `torchrun` every rank asks a replica of the model about its share of the images; the main one scores.

    Raises:
        UserError: If the input is unusable, no question got an answer, another process writes there, or a server was
            given up: what was answered is in the log, and the same command asks the rest.
    """
    if config.run and config.mllm:
        raise UserError(f"Both run={config.run} and mllm={config.mllm}: give one.")
    if config.mode not in list(MMADMode):
        raise UserError(f"Unknown mode={config.mode}. Choose one of: {', '.join(MMADMode)}.")
    path = Path(config.answers) if config.answers else _out(config) / "answers.jsonl"
    asks = bool(config.run or config.mllm)
    ranks = join_ranks()
    with held(_out(config), *([path] if asks else []), by=ranks.once):
        return _evaluate(config, path, asks, ranks)


def _evaluate(config: EvalMMADConfig, path: Path, asks: bool, ranks: Ranks) -> dict[str, Any]:
    mmad = ranks.once(lambda: read_mmad(config.part(MMADConfig), check_images=asks))
    if asks:
        rows, expected, unplanned = _ask(config, mmad, path, ranks)
    elif config.answers:
        rows, expected, unplanned = read_answer_rows(path, mmad), mmad.count, []
    else:
        raise UserError("Nothing to score: give answers=FILE, or run= or mllm= to ask a model.")
    return ranks.once(lambda: _score(config, mmad, path, rows, expected, [*mmad.skipped, *unplanned]))


def _score(
    config: EvalMMADConfig, mmad: MMAD, path: Path, rows: list[Row], expected: int, skipped: list[Skipped]
) -> dict[str, Any]:
    """Scores the rows of `path` and writes the results; `expected` questions might have been answered."""
    out = _out(config)
    answers, rejected = read_answers(drop_superseded(rows), mmad)
    if not answers:
        raise UserError(
            f"No answer in {path} belongs to {config.data_root}: {count_reasons(rejected) or 'empty'}. Check both."
        )
    failures = [Skipped(one.image, one.question, one.failure) for one in answers if one.failure]
    if len(failures) == len(answers):
        raise UserError(f"No question got an answer: {count_reasons(failures)}. Check the server, then run again.")
    score = score_as_published if config.mode == MMADMode.mmad_compat else score_answers
    results: dict[str, Any] = score(answers) | {
        "mode": config.mode,
        "model": str(rows[0].get("model", "")),
        "adapter": str(rows[0].get("adapter", "")),
        "setting": str(rows[0].get("setting", "")),
        "questions": expected,
        "answered": len(answers) - len(failures),
        "unanswered": expected - len(answers) + len(failures),
        "empty_replies": sum(one.reply == "" for one in answers),
        "skipped": count_reasons(skipped),
        "rejected_rows": count_reasons(rejected),
        "failures": count_reasons(failures),
    }
    write_json(out / "results.json", results)
    parts = {"skipped": skipped, "rejected row": rejected, "no answer": failures}
    write_jsonl(out / "skipped.jsonl", ({"kind": kind} | asdict(one) for kind, some in parts.items() for one in some))
    write_text(out / "mmad.md", render_markdown(results))
    write_text(out / "mmad.html", render_html(results))
    _report(parts, results, out)
    return results


def _ask(config: EvalMMADConfig, mmad: MMAD, path: Path, ranks: Ranks) -> tuple[list[Row], int, list[Skipped]]:
    """Rows of the plan, its size, and what could not be planned."""
    ask = config.part(AskConfig)
    knowledge = read_knowledge(Path(config.data_root)) if config.knowledge else {}
    plan, unplanned = plan_questions(mmad, ask, knowledge)
    if not plan:
        raise UserError(f"No question can be asked: {count_reasons(unplanned)}. Check data_root= and shots=.")
    chat, model, adapter = _load(config)
    scored = config.mode == MMADMode.likelihood
    asked: ChatModel | OptionScorer = load_scorer(chat) if scored else chat
    mode = MMADMode.likelihood if scored else MMADMode.generate  # mmad-compat reads the replies of generate
    decoding = {} if scored else GREEDY
    key = AnswerKey(model=model, adapter=adapter, mode=mode.value, setting=ask.setting, decoding=decoding)
    return ask_open(plan, key, path, asked, ranks), len(plan), unplanned


def _load(config: EvalMMADConfig) -> tuple[ChatModel, str, str]:
    """The model, and the names of its base and adapter."""
    trusted = config.trust_remote_code
    if config.run:
        eddm = load_eddm(open_run(config.run), use_adapter=config.use_adapter, trust_remote_code=trusted, where=config)
        return eddm.chat, eddm.model, eddm.adapter
    chat = load_chat(config.mllm, config.part(ChatConfig), trust_remote_code=trusted)
    return chat, chat.name, ""  # the name of a chat model says which adapter it carries


def _out(config: EvalMMADConfig) -> Path:
    if config.out:
        return Path(config.out)
    if config.run:
        return open_run(config.run, writes=True).eval / "mmad"
    return Path(config.answers).parent if config.answers else Path("outputs/mmad")


def _report(parts: dict[str, list[Skipped]], results: dict[str, Any], out: Path) -> None:
    for kind, some in parts.items():
        for reason, count in count_reasons(some).items():
            log.warning("%s: %d × %s", kind, count, reason)
        for one in some[:NAMED]:
            log.warning("  %s%s: %s", one.image, f": {one.question!r}" if one.question else "", one.reason)
        if len(some) > NAMED:
            log.warning("  … all in %s", out / "skipped.jsonl")
    if results["empty_replies"]:
        log.warning("empty replies, counted as wrong: %d of %d", results["empty_replies"], results["answered"])
    if failed := sum(results["failures"].values()):
        rate = 100 * failed / results["questions"]
        log.warning(
            "no answer from the server, counted as wrong: %d of %d (%.2f %%). Run the same command again to "
            "ask them again.",
            failed,
            results["questions"],
            rate,
        )
    if results["unanswered"] > failed:
        log.warning(
            "PARTIAL: %d of %d questions are not in the log.", results["unanswered"] - failed, results["questions"]
        )
    log.info("%s", render_markdown(results))
    log.info("Results: %s", out / "results.json")
