"""The page as other programs see it: served for real, and asked over HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import httpx
import numpy as np
import pytest

pytest.importorskip("gradio", reason="Gradio is not installed: pip install -r scripts/requirements/app.txt")
from gradio_client import Client, handle_file

from eval.assistant.assistant import Assistant
from eval.assistant.page import Page
from eval.assistant.serve import served
from eval.assistant.session import Session
from eval.assistant.uploads import take_uploads
from eval.judgements.judgement import Finding
from tests.eval.assistant.asking import answer, begin, fill
from tests.eval.assistant.redness import MakeAssistant, WritePhoto, make_hesitant

PLACE = (slice(10, 20), slice(30, 50))


@pytest.fixture
def assistant(make_assistant: MakeAssistant) -> Assistant:
    return make_assistant(port=0, megabytes=1)


@pytest.fixture
def address(assistant: Assistant) -> Iterator[str]:
    with served(assistant.config, assistant) as found:
        yield found


@pytest.fixture
def client(address: str, tmp_path: Path) -> Client:
    return Client(address, verbose=False, download_files=str(tmp_path / "got"))


def test_a_photo_is_looked_at_over_http(client: Client, write_photo: WritePhoto) -> None:
    photo = write_photo("<b>part.png", (240, *PLACE))
    row, picture = client.predict(handle_file(str(photo)), api_name="/inspect")
    assert row["verdict"] == "defect" and row["regions"][0]["box"] == [30, 10, 50, 20] and row["size"] == [40, 60]
    assert "image" not in row and Path(picture).is_file()
    row, _ = client.predict(handle_file(str(photo)), 0.99, api_name="/inspect")
    assert (row["verdict"], row["threshold"]) == ("ok", 0.99)
    endpoints = client.view_api(return_format="dict", print_info=False)["named_endpoints"]
    assert list(endpoints) == ["/inspect", "/ask", "/judge", "/export"]


def test_questions_judgements_and_exports_go_over_http(
    client: Client, assistant: Assistant, write_photo: WritePhoto
) -> None:
    photo = handle_file(str(write_photo("part.png", (240, *PLACE))))
    assert client.predict(photo, "What is it?", None, api_name="/ask") == "What is it? <b>[0]</b>"
    assert client.predict(photo, "Sure?", [["What is it?", "A nut."]], api_name="/ask") == "Sure? <b>[1]</b>"
    with pytest.raises(Exception, match="list of pairs"):
        client.predict(photo, "Sure?", ["What is it?"], api_name="/ask")
    assert client.predict(photo, "wrong_class", "chip", "", None, None, api_name="/judge") == 1
    mask = write_photo("mask.png")
    cv2.imwrite(str(mask), np.pad(np.full((4, 4), 255, np.uint8), ((2, 34), (2, 54))))
    given = (photo, "redrawn", "crack", "ben", handle_file(str(mask)), None)
    assert client.predict(*given, api_name="/judge") == 2
    assert [(one.user, one.regions[0].name, one.regions[0].box) for one in assistant.log] == [
        ("ann", "chip", (30, 10, 50, 20)),
        ("ben", "crack", (2, 2, 6, 6)),
    ]
    with pytest.raises(Exception, match="must be one of accepted"):
        client.predict(photo, "wrong", "", "", None, None, api_name="/judge")
    assert Path(client.predict("coco", api_name="/export")).suffix == ".zip"


def test_the_verdict_on_the_screen_is_judged_wherever_the_slider_is_by_now(
    assistant: Assistant, write_photo: WritePhoto, tmp_path: Path
) -> None:
    page, session = Page(assistant, tmp_path, "ann"), Session()
    uploads = take_uploads([write_photo("part.png", (240, *PLACE))], assistant.bounds).uploads
    session.photos, session.shown = next(assistant.inspect(uploads)), 0
    updates = page._judging(Finding.accepted)(session, "contour", 0.8, 1.0, 0.5, "", "ann", None)
    (kept,) = assistant.log
    assert (kept.verdict, len(kept.regions)) == ("defect", 1)  # as at 0.5, and not "ok" as at 1
    assert updates[page.seen] == 1.0 and "threshold 1" in updates[page.verdict]  # and now the slider's is shown
    assert page.notice not in page._decide(session, "contour", 0.8, 0.7)  # so what a click answered stays
    assert page.threshold.preprocess(5.0) == 1.0 and page.threshold.preprocess(None) == page.threshold.value


def test_what_is_wrong_is_said_without_a_path_of_this_machine(client: Client, tmp_path: Path) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"\x89PNG nonsense")
    with pytest.raises(Exception, match=r"broken\.png") as said:
        client.predict(handle_file(str(broken)), api_name="/inspect")
    assert "/" not in str(said.value).replace("and/or", "")
    with pytest.raises(Exception, match="No photo was given"):
        client.predict(None, api_name="/inspect")


def test_no_file_but_its_own_is_handed_out_or_looked_at(address: str, write_photo: WritePhoto) -> None:
    mine = write_photo("private.png", (240, *PLACE))
    for path in (mine, "/etc/passwd", Path(__file__)):
        assert httpx.get(f"{address}gradio_api/file={path}").status_code == 403
    for path in (mine, "/etc/passwd"):
        asked = {"data": [{"path": str(path), "meta": {"_type": "gradio.FileData"}}, None]}
        event = httpx.post(f"{address}gradio_api/call/inspect", json=asked).json()["event_id"]
        answer = httpx.get(f"{address}gradio_api/call/inspect/{event}", timeout=60).text
        assert "event: error" in answer and "verdict" not in answer


def test_files_beyond_the_bound_and_foreign_names_are_turned_away(address: str) -> None:
    heavy = httpx.post(f"{address}gradio_api/upload", files={"files": ("a.png", b"\0" * 1_100_000)})
    assert heavy.status_code == 413
    foreign = httpx.get(address, headers={"host": "evil.example"})
    assert foreign.status_code == 400 and "this machine alone" in foreign.text
    page = httpx.get(address)
    assert page.status_code == 200 and "default-src 'self'" in page.headers["content-security-policy"]


def test_what_was_handed_in_is_gone_when_the_page_is_closed(make_assistant: MakeAssistant) -> None:
    assistant = make_assistant(port=0)
    with served(assistant.config, assistant) as address:
        answer = httpx.post(f"{address}gradio_api/upload", files={"files": ("a.png", b"kept here")})
        (path,) = answer.json()
        assert Path(path).read_bytes() == b"kept here"
    assert not Path(path).exists()
    with pytest.raises(httpx.ConnectError):
        httpx.get(address)


def test_who_leaves_in_the_middle_of_an_answer_takes_nothing_along(
    make_assistant: MakeAssistant, write_photo: WritePhoto, tmp_path: Path
) -> None:
    assistant, parrot = make_hesitant(make_assistant)
    photo = write_photo("part.png", (240, *PLACE))
    with served(assistant.config, assistant) as address:
        client = Client(address, verbose=False, download_files=str(tmp_path / "got"))
        assert client.predict(handle_file(str(photo)), "accepted", "", "", None, None, api_name="/judge") == 1
        event = begin(address, photo, "What is it?").json()["event_id"]
        with httpx.stream("GET", f"{address}gradio_api/call/ask/{event}", timeout=60):
            assert parrot.begun.wait(60)  # and the line is cut here
        parrot.may_end.set()
        assert client.predict(handle_file(str(photo)), "And now?", None, api_name="/ask") == "And now? <b>[0]</b>"
        assert client.predict(handle_file(str(photo)), "fine", "", "", None, None, api_name="/judge") == 2
    assert [one.finding.value for one in assistant.log] == ["accepted", "fine"]


def test_a_request_that_the_queue_has_no_place_for_is_told_so_and_the_others_are_answered(
    make_assistant: MakeAssistant, write_photo: WritePhoto
) -> None:
    assistant, parrot = make_hesitant(make_assistant, waiting=1)
    photo = write_photo("part.png", (240, *PLACE))
    with served(assistant.config, assistant) as address:
        taken = fill(address, photo, waiting=1)
        refused = begin(address, photo, "One more?")
        assert refused.status_code == 503 and "full" in refused.text.lower()
        parrot.may_end.set()
        for index, event in enumerate(taken):
            assert f"{index}? <b>[0]</b>" in answer(address, event)


@pytest.mark.slow
def test_two_hundred_requests_at_eight_at_a_time_lose_none(
    address: str, assistant: Assistant, write_photo: WritePhoto, tmp_path: Path
) -> None:
    photos = [write_photo(f"{index}.png", (50 + index, *PLACE)) for index in range(200)]

    def ask(photo: Path) -> float:
        client = Client(address, verbose=False, download_files=str(tmp_path / "got"))
        return client.predict(handle_file(str(photo)), api_name="/inspect")[0]["score"]

    with ThreadPoolExecutor(8) as pool:
        scores = list(pool.map(ask, photos))
    assert scores == [pytest.approx((50 + index) / 255) for index in range(200)]
    source = assistant.inspector.source
    assert sum(source.batches) == 200 and source.together == 0  # type: ignore[attr-defined]
