from pathlib import Path

import pytest

pytest.importorskip("gradio", reason="Gradio is not installed: pip install -r scripts/requirements/app.txt")

from scripts.benchmarks import app
from tests.eval.assistant.conftest import make_assistant, write_photo  # noqa: F401
from tests.eval.assistant.redness import MakeAssistant, WritePhoto


def test_a_look_and_an_answer_are_timed_on_both_sides(make_assistant: MakeAssistant, write_photo: WritePhoto) -> None:  # noqa: F811
    assistant = make_assistant(port=0)
    photos = [write_photo(f"{index}.png", (100 + index, slice(10, 20), slice(30, 50))) for index in range(6)]
    found = app.compare(assistant.config, assistant, photos)
    assert list(found) == ["look", "answer"] and all(second > 0 for pair in found.values() for second in pair)
    assistant.eddm = None
    assert list(app.compare(assistant.config, assistant, photos)) == ["look"]


@pytest.mark.parametrize(("page", "code"), [(1.19, None), (1.21, 1)])
def test_the_goal_decides_the_exit_code(
    page: float, code: int | None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(app, "load_assistant", lambda config: asked.append(config.expert_dir))
    monkeypatch.setattr(app, "compare", lambda config, assistant, photos: {"look": (page, 1.0)})
    words = ["expert=patchcore", f"expert_dir={tmp_path}", "--photos", "1", "--side", "32"]
    if code is None:
        app.main(words)
    else:
        with pytest.raises(SystemExit) as ended:
            app.main(words)
        assert ended.value.code == code
    assert asked == [str(tmp_path)] and f"look: page {page:.3f} s, model 1.000 s" in capsys.readouterr().out
