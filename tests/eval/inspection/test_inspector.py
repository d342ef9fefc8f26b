import pytest

from eval.inspection.inspector import unfamiliar


@pytest.mark.parametrize(
    ("far", "told"),
    [(1.001, "a little farther"), (1.049, "a little farther"), (1.05, "1.1 times as far"), (3.0, "3.0 times as far")],
)
def test_an_unfamiliar_photo_is_never_as_far_as_the_products(far: float, told: str) -> None:
    warning = unfamiliar(far)
    assert f"({told} " in warning and "do not rely on this row" in warning and "1.0" not in warning
