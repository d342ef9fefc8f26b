import pytest

from data.errors import UserError
from data.ranks import Ranks


def test_what_the_main_rank_finds_wrong_is_raised_on_all(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[object] = []

    def broadcast(ranks: Ranks, value: object) -> object:
        sent.append(value)
        return sent[0]

    def refuse() -> None:
        raise UserError("Wrong.")

    monkeypatch.setattr(Ranks, "broadcast", broadcast)
    for rank in (0, 1):
        with pytest.raises(UserError, match="Wrong"):
            Ranks(rank, 2).once(refuse)
