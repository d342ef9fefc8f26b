from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled, RepositoryNotFoundError

from data.errors import UserError
from train.export.hub import check_hub, push


def answer(code: int) -> httpx.Response:
    return httpx.Response(code, request=httpx.Request("GET", "https://hub"))


class Stub:
    """Of `huggingface_hub.HfApi`: remembers what it was told."""

    def __init__(self, *, private: bool | None = None, error: Exception | None = None) -> None:
        self.private, self.error = private, error
        self.told: list[Any] = []

    def whoami(self) -> dict[str, str]:
        if self.error:
            raise self.error
        return {"name": "me"}

    def repo_info(self, repo: str, repo_type: str) -> Any:
        if self.private is None:
            raise RepositoryNotFoundError("none", response=answer(404))
        return SimpleNamespace(private=self.private)

    def create_repo(self, repo: str, **values: Any) -> str:
        self.told.append(("create", repo, values["private"]))
        return f"https://hub/{repo}"

    def upload_folder(self, **values: Any) -> None:
        if self.error:
            raise self.error
        self.told.append(("upload", values["repo_id"], values["folder_path"]))


def test_an_export_is_uploaded_privately(tmp_path: Path) -> None:
    stub = Stub()
    assert check_hub("me/tiny", private=True, api=stub) is stub
    assert push(stub, "me/tiny", tmp_path, private=True) == "https://hub/me/tiny"
    assert stub.told == [("create", "me/tiny", True), ("upload", "me/tiny", str(tmp_path))]


def test_a_public_repository_is_not_taken_for_a_private_one() -> None:
    with pytest.raises(UserError, match=r"exists and is public\. Set private=false"):
        check_hub("me/tiny", private=True, api=Stub(private=False))
    check_hub("me/tiny", private=False, api=Stub(private=False))
    check_hub("me/tiny", private=True, api=Stub(private=True))


def test_without_token_network_or_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.get_token", lambda: None)
    with pytest.raises(UserError, match="needs a token: set HF_TOKEN"):
        check_hub("me/tiny", private=True)
    for error in (
        OfflineModeIsEnabled("offline"),
        HfHubHTTPError("401 Unauthorized", response=answer(401)),
        OSError("no"),
    ):
        with pytest.raises(UserError, match="the hub cannot be used"):
            check_hub("me/tiny", private=True, api=Stub(error=error))
    for name in ("tiny", "me/", "a/b/c"):
        with pytest.raises(UserError, match="write it as owner/name"):
            check_hub(name, private=True, api=Stub())


def test_a_failed_upload_leaves_the_export(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"is complete, but its upload to me/tiny failed: cut off.*hf upload"):
        push(Stub(error=OSError("cut off")), "me/tiny", tmp_path, private=True)
