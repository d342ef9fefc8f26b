from pathlib import Path

import pytest

from data.errors import UserError
from models.chat.protocol import ChatRequest, Message, Turn

IMAGE, TEMPLATE = Path("photo.png"), Path("sound.png")


def test_without_history_there_is_one_message() -> None:
    request = ChatRequest(IMAGE, "Where?", before=("Normal:", TEMPLATE))
    assert request.messages == [Message("user", ["Normal:", TEMPLATE, IMAGE, "Where?"])]
    assert request.images == [TEMPLATE, IMAGE]
    assert request.mark() == [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "Normal:"},
                {"type": "image"},
                {"type": "image"},
                {"type": "text", "text": "Where?"},
            ],
        }
    ]


def test_the_images_stand_in_the_first_turn_of_a_conversation() -> None:
    history = (Turn("Is there a defect?", "Yes."), Turn("Which?", "A scratch."))
    request = ChatRequest(IMAGE, "Where?", before=(TEMPLATE,), history=history)
    assert request.messages == [
        Message("user", [TEMPLATE, IMAGE, "Is there a defect?"]),
        Message("assistant", ["Yes."]),
        Message("user", ["Which?"]),
        Message("assistant", ["A scratch."]),
        Message("user", ["Where?"]),
    ]
    assert request.images == [TEMPLATE, IMAGE]
    assert [part["type"] for message in request.mark() for part in message["content"]].count("image") == 2


def test_a_text_that_stands_for_an_image_is_refused_whoever_said_it() -> None:
    for request in (
        ChatRequest(IMAGE, "What is <image>?"),
        ChatRequest(IMAGE, "Where?", before=("<image>",)),
        ChatRequest(IMAGE, "Where?", history=(Turn("What?", "An <image>."),)),
    ):
        with pytest.raises(UserError, match=r"photo\.png holds '<image>'.*Reword it"):
            request.refuse(["<other>", "<image>"])
        request.refuse(["<other>"])
