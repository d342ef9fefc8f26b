"""EDDM, the dialogue module: asks a chat model about defects and describes them (EIAD, Sec. III-B)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from data.ddqa.compose import FREE_PROMPT, compose_description
from data.ddqa.regions import REGIONS
from data.ddqa.tasks import AD_OPTIONS, Task, format_prompt
from data.errors import UserError
from data.files import hash_file, read_json
from data.run import Run
from data.training.descriptions import DescribeMode, Manner, Naming
from models.chat.answers import parse_letter
from models.chat.protocol import ChatModel, ChatRequest, OptionScorer
from models.device import CPU, DeviceConfig, Placement
from models.eddm.identity import locate_base
from models.eddm.naming import Options, compare_all, knock_out
from models.weights.shards import find_adapter, list_shards, name_weights
from models.weights.trust import Admitted, admit

LETTER_TOKENS = 4  # a letter, and room to notice that a reply is more than a letter
BOX_TOKENS = 32
TEXT_TOKENS = 48


@dataclass(frozen=True, slots=True)
class Description:
    """A text and the answers behind it (empty in free mode; None marks a reply that could not be read)."""

    text: str
    answers: dict[str, Any] = field(default_factory=dict)


class EDDM:
    """A chat model with the names of the defects it was taught."""

    def __init__(self, chat: ChatModel, defects: Sequence[str], *, model: str = "", adapter: str = "") -> None:
        """Names what answers, for the keys of logs and descriptions.

        Args:
            chat: Answers.
            defects: Candidate names for the type of a defect.
            model: Names the base weights.
            adapter: Names the adapter's weights.
        """
        self.chat, self.defects = chat, tuple(defects)
        self.model, self.adapter = model, adapter
        self._scorer: OptionScorer | None = None

    def expect(self, images: Sequence[Path]) -> None:
        """Lets the model open images that will be described next, while it is busy with others, if it can."""
        if hasattr(self.chat, "expect"):
            self.chat.expect(images)

    def ask(self, images: Sequence[Path], prompt: str, max_tokens: int = TEXT_TOKENS) -> list[str]:
        """Asks the same question about several images."""
        return self.chat.chat([ChatRequest(image, prompt, max_tokens) for image in images])

    def describe(self, images: Sequence[Path], manner: Manner) -> list[str]:
        """Describes images, in order."""
        return [description.text for description in self.describe_fully(images, manner)]

    def describe_fully(self, images: Sequence[Path], manner: Manner) -> list[Description]:
        """Describes images and keeps the answers."""
        if manner.mode is DescribeMode.free:
            return [Description(text) for text in self.ask(images, FREE_PROMPT, manner.length)]
        found = [
            self._choose_yes(reply) for reply in self.ask(images, format_prompt(Task.AD, AD_OPTIONS), LETTER_TOKENS)
        ]
        marked = [image for image, answer in zip(images, found, strict=True) if answer]
        regions = iter(self.choose(marked, Task.RDL, REGIONS, manner.naming))
        defects = iter(self.choose(marked, Task.DC, self.defects, manner.naming))
        described = []
        for answer in found:
            if not answer:  # unreadable counts as "no": EDDM must not make up a defect
                described.append(Description(compose_description(None, None, None), {"AD": answer}))
                continue
            region, defect = next(regions), next(defects)
            answers = {"AD": True, "RDL": region, "DC": defect}
            described.append(Description(compose_description(None, defect or "defect", region), answers))
        return described

    def choose(
        self, images: Sequence[Path], task: Task, names: Options, naming: Naming = Naming.rounds
    ) -> list[str | None]:
        """Finds the best of many names for each image; see `models.eddm.naming`.

        Args:
            images: The images.
            task: RDL or DC.
            names: All candidates.
            naming: How they are compared.

        Raises:
            UserError: If the model shows no logits, which `at_once` needs.
        """

        def request(image: Path, options: Options) -> ChatRequest:
            return ChatRequest(image, format_prompt(task, tuple(options)), LETTER_TOKENS)

        def ask(rounds: Sequence[Options]) -> list[int | None]:
            replies = self.chat.chat([request(image, options) for image, options in zip(images, rounds, strict=True)])
            return [parse_letter(reply, len(options)) for reply, options in zip(replies, rounds, strict=True)]

        def score(questions: Sequence[Sequence[Options]]) -> list[list[list[float]]]:
            asked = [(image, options) for image, some in zip(images, questions, strict=True) for options in some]
            scores = iter(self._load_scorer().score([request(*one) for one in asked], [len(some) for _, some in asked]))
            return [[next(scores) for _ in some] for some in questions]

        if naming is Naming.at_once:
            return compare_all(names, len(images), score)
        return knock_out(names, len(images), ask)

    def _load_scorer(self) -> OptionScorer:
        if self._scorer is None:
            from models.chat.load import load_scorer  # slow to import, and seldom needed

            try:
                self._scorer = load_scorer(self.chat)
            except UserError as error:
                raise UserError(f"naming=at_once compares likelihoods: {error} Or set naming=rounds.") from error
        return self._scorer

    @staticmethod
    def _choose_yes(reply: str) -> bool | None:
        choice = parse_letter(reply, len(AD_OPTIONS))
        return None if choice is None else AD_OPTIONS[choice] == "Yes."


def load_eddm(
    run: Run,
    *,
    use_adapter: bool = True,
    batch_size: int = 64,
    trust_remote_code: bool = False,
    where: DeviceConfig | None = None,
) -> EDDM:
    """Loads the EDDM of a run.

    Args:
        run: The run; reads `RUN/eddm/config.json`, whose base is a folder beside it or a hub id.
        use_adapter: False gives the base without its LoRA.
        batch_size: Questions a batch.
        trust_remote_code: Whether the user's command line allows code that comes with the base; what the run says
            about it does not count.
        where: Device and number format; None leaves both open, see `DeviceConfig`.

    Raises:
        UserError: If the run has no trained EDDM, one of its folders is not what it should be, or its base runs code
            that is not allowed, or is not the code it was trained with.
    """
    path = run.eddm / "config.json"
    if not path.is_file():
        raise UserError(
            f"No trained EDDM at {run.eddm}. Train it first: python -m scripts.train_eddm run_dir={run.path}"
        )
    trained = read_json(path)["trained"]
    adapter = run.eddm / "adapter" if use_adapter else None
    if adapter is not None and not (adapter / "adapter_model.safetensors").is_file():
        raise UserError(
            f"No adapter at {adapter}. Finish the training: python -m scripts.train_eddm run_dir={run.path}"
        )
    base = find_base(run, trained, trust_remote_code=trust_remote_code)
    model = name_weights(base.place) if trained["local"] else f"{trained['base']}@{base.revision}"
    weights = hash_file(adapter / "adapter_model.safetensors")[:16] if adapter else ""
    placement = place_trained(trained, where)
    if placement.number != own_format(trained):  # answers may differ
        weights += f"+{placement.number}"
    chat = load_trained_chat(trained, base, adapter, placement, name=f"{model}+{weights}", batch_size=batch_size)
    return EDDM(chat, trained["defects"], model=model, adapter=weights)


def find_base(run: Run, trained: dict[str, Any], *, trust_remote_code: bool) -> Admitted:
    """The base of a run's EDDM, when its code may run here.

    Args:
        run: The run.
        trained: What its training recorded: a folder or a hub id, its revision, and the hash of its code.
        trust_remote_code: Whether the user's command line allows that code.

    Raises:
        UserError: If it is missing, or would run code that is not allowed, or not the code it was trained with.
    """
    place: str | Path = trained["base"]
    if trained["local"]:
        place = locate_base(run, trained["base"])
        if not place.is_dir():
            raise UserError(f"No base checkpoint at {place}. Train EDDM again, or copy the whole run directory.")
        list_shards(place)
    return admit(place, revision=trained.get("revision"), trusted=trust_remote_code, code=trained.get("code"))


def own_format(trained: dict[str, Any]) -> str:
    """The number format that an EDDM was trained in, as torch names it."""
    return "float32" if trained["backend"] == "transformers" else trained["torch_dtype"]


def place_trained(trained: dict[str, Any], where: DeviceConfig | None = None) -> Placement:
    """Where an EDDM runs, in the number format that it was trained in unless another is asked for."""
    return (where or DeviceConfig()).place(own_format(trained))


def load_trained_chat(
    trained: dict[str, Any], base: Admitted, adapter: Path | None, placement: Placement, *, name: str, batch_size: int
) -> ChatModel:
    """Loads the chat model behind an EDDM.

    Args:
        trained: What the training recorded about how to run it.
        base: The base, or a merged model.
        adapter: PEFT folder; None for the base alone.
        placement: Device and number format.
        name: Names the weights.
        batch_size: Questions a batch.

    Raises:
        UserError: If the adapter holds a pickle, or no safetensors.
    """
    if adapter is not None:
        find_adapter(adapter)
    if trained["backend"] == "transformers":
        if placement == CPU:
            from models.chat.local import TransformersChat  # slow to import

            return TransformersChat(base.place, adapter, name=name, batch_size=batch_size)
        from models.chat.vlm import VLM

        return VLM(base, adapter, placement, name=name, batch_size=batch_size)
    from models.chat.swift import SwiftChat, SwiftChatConfig

    config = SwiftChatConfig(
        model=base,
        model_type=trained["model_type"],
        template=trained["template"],
        torch_dtype=placement.number,
        attn_impl=trained["attn_impl"],
        device_map=placement.where,
        batch_size=batch_size,
    )
    return SwiftChat(config, adapter, name=name)
