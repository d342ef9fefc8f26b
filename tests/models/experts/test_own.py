"""Experts that live outside of the project: their form, what they return, and their folders."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from data.errors import UserError
from data.plugins.trust import allow
from data.sample import Sample
from models.experts.expert import Gate
from models.experts.load import ExpertName, load_expert, parse_expert
from models.experts.own import OwnExpert
from models.experts.store import read_expert

FIXED = """
import numpy as np

class Mine:
    name = "bright 1"

    def __init__(self, device, above: int = 0):
        self.above = above

    def score(self, category, images):
        maps = [np.maximum(image.mean(2) - self.above, 0) for image in images]
        return [(one, one.max()) for one in maps]
"""
LEARNING = (
    FIXED
    + """
    def fit(self, category, samples):
        self.above = len(samples)

    def save(self, folder):
        (folder / "above.txt").write_text(str(self.above))

    def load(self, folder):
        self.above = int((folder / "above.txt").read_text())
"""
)
Write = Callable[..., str]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Write:
    """Writes a module with a class `Mine`; returns the plug-in's name, which is allowed."""
    monkeypatch.syspath_prepend(tmp_path)

    def write(code: str, number: int = 0) -> str:
        module = f"own_expert_{abs(hash(request.node.nodeid))}_{number}"
        (tmp_path / f"{module}.py").write_text(code, encoding="utf-8")
        allow(f"{module}:Mine")
        return f"{module}:Mine"

    return write


def sample(name: str = "a") -> Sample:
    return Sample(id=f"own/{name}.png", dataset="own", category="nut", split="test", image=Path(f"{name}.png"))


def fitted(name: str, folder: Path, **options: int) -> OwnExpert:
    expert = OwnExpert.make(name, options, "cpu")
    if expert.learns:
        expert.fit("nut", [sample(), sample("b"), sample("c")])
    expert.gates = {"nut": Gate(100.0, 50.0)}
    folder.mkdir(exist_ok=True)
    expert.save(folder, {"nut": ["own/a.png"]})
    return expert


@pytest.mark.parametrize(("code", "expected"), [(FIXED, 193.0), (LEARNING, 197.0)])
def test_what_is_saved_is_loaded_and_looks_the_same(write: Write, tmp_path: Path, code: str, expected: float) -> None:
    name = write(code)
    before = fitted(name, tmp_path / "fit", above=7)
    after = load_expert(name, str(tmp_path / "fit"))
    images = [np.full((4, 6, 3), 200, np.uint8), np.zeros((2, 2, 3), np.uint8)]
    found = after.detect([sample(), sample("b")], images)
    assert [one.score for one in found] == [expected, 0.0]
    assert [one.anomaly_map.shape for one in found] == [(4, 6), (2, 2)]
    assert [one.is_normal for one in found] == [False, True]
    assert after.name == before.name == f"bright 1 ({name})"
    assert read_expert(tmp_path / "fit", name)["fitted"] == {"nut": ["own/a.png"]}
    with pytest.raises(UserError, match=rf"was not fitted for bolt, but for nut\. Fit it: .*expert={name}"):
        after.check(["nut", "bolt"])


def test_name_options_and_source_are_its_identity(write: Write) -> None:
    one, other = write(FIXED), write(FIXED.replace("bright 1", "bright 2"), 1)
    same = [
        OwnExpert.make(name, options, "cpu").identity for name, options in [(one, {}), (one, {}), (one, {"above": 1})]
    ]
    assert same[0] == same[1] != same[2]
    assert OwnExpert.make(other, {}, "cpu").identity not in same


def test_another_version_of_the_source_is_refused(write: Write, tmp_path: Path) -> None:
    name = write(FIXED)
    fitted(name, tmp_path / "fit")
    (tmp_path / f"{name.partition(':')[0]}.py").write_text(FIXED + "\nCHANGED = True\n")
    with pytest.raises(UserError, match=rf"was fitted with another version of {name}\. Fit it again"):
        load_expert(name, str(tmp_path / "fit"))


def test_a_folder_alone_runs_no_code(write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = write(FIXED + "\nopen(__file__ + '.ran', 'a').close()\n")
    fitted(name, tmp_path / "fit")
    (marker,) = tmp_path.glob("*.ran")
    marker.unlink()
    monkeypatch.setattr("data.plugins.trust._allowed", set())
    saved = read_expert(tmp_path / "fit")["expert"]
    assert saved == name
    with pytest.raises(UserError, match=rf"plugins=\[{name}\]"):
        load_expert(saved, str(tmp_path / "fit"))
    with pytest.raises(UserError, match=rf"holds the expert '{name}', not 'patchcore'"):
        load_expert("patchcore", str(tmp_path / "fit"))
    assert not list(tmp_path.glob("*.ran"))


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("Mine = 3\n", r"is no class but 3\. Name the class"),
        ("class Mine:\n    name = 'a'\n", r"lacks score\(self, category, images\), which it needs\. Add it"),
        (FIXED + "\n    def fit(self, category, samples): ...\n", r"lacks save\(self, folder\), which .* has fit\(\)"),
        (
            FIXED.replace("(self, category, images)", "(self, images)"),
            r"score\(\) cannot be called as score\(self, cat",
        ),
        (FIXED.replace('name = "bright 1"', "names = 1"), r"has no name\. Write in its class: name = "),
        (FIXED.replace("device, above: int = 0", "above=0"), r"does not take device and options=\{\}"),
    ],
)
def test_a_wrong_form_is_told_before_anything_is_looked_at(write: Write, code: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        OwnExpert.make(write(code), {}, "cpu")


def test_options_that_it_does_not_take(write: Write) -> None:
    with pytest.raises(UserError, match=r"options=\{'below': 3\}.*'below'"):
        OwnExpert.make(write(FIXED), {"below": 3}, "cpu")


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        ("[image.mean(2) for image in images]", r"must give an anomaly map and a score of each image"),
        ("None", r"returned None: score\(\) must give"),
        ("[]", r"scored 0 of 1 images"),
        ("[(image, 1.0) for image in images]", r"a map of \(3, 5, 3\) for an image of \(3, 5\)\. Resize it"),
        ("[(image.mean(2) * np.nan, 1.0) for image in images]", r"with NaN or infinity"),
        ("[(image.mean(2), np.inf) for image in images]", r"with NaN or infinity \(score inf\)"),
    ],
)
def test_a_wrong_answer_is_told(write: Write, returned: str, message: str) -> None:
    code = FIXED[: FIXED.index("        maps")] + f"        return {returned}\n"
    expert = OwnExpert.make(write(code), {}, "cpu")
    with pytest.raises(UserError, match=message):
        expert.score("nut", [np.zeros((3, 5, 3), np.uint8)])


def test_names() -> None:
    assert parse_expert("deep.mine:Mine") == (ExpertName.own, "deep.mine:Mine")
    assert parse_expert("anomalib:Padim") == (ExpertName.anomalib, "Padim")
    for name, message in (
        ("patchcor", r"Did you mean patchcore\?.*package\.module:Class"),
        ("ddad:x", "Unknown expert"),
    ):
        with pytest.raises(UserError, match=message):
            parse_expert(name)
    allow("anomlib:Padim")
    with pytest.raises(UserError, match=r"No module 'anomlib' .* Did you mean anomalib\?"):
        load_expert("anomlib:Padim", "/tmp")


@pytest.mark.parametrize(("code", "data"), [(LEARNING, "images=PHOTOS"), (FIXED, "dataset=NAME data_root=FOLDER")])
def test_without_a_folder_the_whole_command_that_fits_it_is_told(write: Write, code: str, data: str) -> None:
    name = write(code)
    with pytest.raises(UserError) as error:
        load_expert(name, "")
    command = f"python -m scripts.fit_expert expert={name} {data} out=DIR"
    assert str(error.value) == f"The expert '{name}' needs a folder. Fit it: {command}; then give expert_dir=DIR."


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("class Other: ...", "has no 'Mine'"),
        ("class Mine(:", "stops while it is imported: SyntaxError"),
        ("import nowhere_at_all", "stops while it is imported: ModuleNotFoundError"),
        ("class Mine:\n    name = 'a'\n", r"lacks score\(self, category, images\)"),
    ],
)
def test_without_a_folder_a_class_that_cannot_be_used_is_told_first(write: Write, code: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        load_expert(write(code), "")


def test_without_a_folder_a_missing_module_is_told_first() -> None:
    allow("nosuch:X")
    with pytest.raises(UserError, match="No module 'nosuch' for expert=nosuch:X"):
        load_expert("nosuch:X", "")
