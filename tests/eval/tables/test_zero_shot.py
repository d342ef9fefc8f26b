from pathlib import Path

import pytest

from data.errors import UserError
from data.files import write_json
from eval.tables.zero_shot import METHODS, check_published, lacking_maps, read_told

USED = {"file": "a.pt", "sha256": "ab" * 32, "checkpoint": "clip-a", "published": True}


@pytest.mark.parametrize("method", METHODS)
def test_without_a_checkpoint_it_is_named_first(method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("models.weights.hub.constants.HF_HUB_CACHE", str(tmp_path))
    told = lacking_maps(method, "visa", "/data/visa")
    assert told.startswith("missing ") and "GB" in told and "https://" in told
    assert f"expert={method} dataset=visa data_root=/data/visa out=DIR/visa; then give +maps.{method}=DIR" in told


def test_with_the_checkpoint_only_maps_are_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("eval.tables.zero_shot.locate", lambda wanted: Path(wanted.place))
    assert lacking_maps("winclip", "visa", "V").startswith("missing maps: write them: python -m scripts.export_maps")


def test_maps_tell_with_what_they_were_made(tmp_path: Path) -> None:
    assert read_told(tmp_path) == {}
    write_json(tmp_path / "maps.json", {"expert": "winclip", "weights": [USED]})
    told = read_told(tmp_path)
    assert check_published("winclip", tmp_path, told) == "clip-a: a.pt (SHA-256 abababababababab)"
    with pytest.raises(UserError, match="missing the checkpoints' hashes"):
        check_published("anoclip", tmp_path, told)
    with pytest.raises(UserError, match=r"missing published weights: a\.pt"):
        check_published("winclip", tmp_path, told | {"weights": [USED, USED | {"published": False}]})
