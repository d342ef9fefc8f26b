from pathlib import Path

import pytest

from data.classes.policy import Action, load_policy
from data.classes.texts import load_products
from data.errors import UserError

TEMPLATES = Path("data/classes/template.yaml"), Path("data/classes/policies/template.yaml")
PRODUCT = load_products(TEMPLATES[0])["washer"]


def test_the_templates_fit_together() -> None:
    policy = load_policy(TEMPLATES[1], PRODUCT)
    assert policy.decide("good").action is Action.accept
    assert policy.decide("unknown").action is Action.ask
    assert policy.decide("scratch").action is Action.ask  # what is copied lets no defect pass
    assert all(action is not Action.accept for key, action in policy.actions.items() if key != "good")
    decision = policy.decide("stain")
    assert decision.action is Action.rework
    assert "stain" in decision.reason and "wash" in decision.reason


def test_what_is_not_listed_is_asked_about(tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text("washer: {scratch: pass, stain: pass, bend: scrap, Missing-Part: scrap}")
    policy = load_policy(path, PRODUCT)
    assert policy.decide("missing_part").action is Action.scrap  # spelling does not matter
    assert policy.decide("unknown").action is Action.ask
    assert policy.decide("good").action is Action.accept


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("other: {}", "No policy of 'washer'"),
        ("washer: {scratch: pass}", "No action for missing_part"),
        ("washer: {scratch: burn}", "Unknown action 'burn'"),
        ("washer: {rust: pass}", "Unknown class 'rust'"),
        ("washer: {scratch: {action: pass, why: x}}", "Unknown keys"),
        ("washer: {scratch: pass, scratch: scrap}", "Key written twice"),
        ("washer: {scratch: ask, stain: ask, bend: ask, missing_part: ask, unknown: pass}", "what nobody could name"),
        ("washer: [", "Not valid YAML"),
    ],
)
def test_bad_files(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=message):
        load_policy(path, PRODUCT)
