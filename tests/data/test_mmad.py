import copy
from pathlib import Path

import pytest

from data.errors import UserError
from data.files import write_json
from data.mmad import (
    ImageLayout,
    MMADConfig,
    TemplateKind,
    count_reasons,
    locate,
    read_knowledge,
    read_mmad,
)
from tests.eval.mmad.mmad_tree import write_mmad

BOTTLE = "DS-MVTec/bottle/image/broken_large/000.png"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_mmad(tmp_path)
    return tmp_path


def config(root: Path) -> MMADConfig:
    return MMADConfig(data_root=str(root))


def test_reads_every_prefix_in_the_order_of_the_file(root: Path) -> None:
    mmad = read_mmad(config(root), check_images=True)
    assert not mmad.skipped
    assert len(mmad.images) == 9
    assert mmad.count == 5 * 7 + 4 * 3
    assert [image.dataset for image in mmad.images[:4]] == ["DS-MVTec", "DS-MVTec", "DS-MVTec", "MVTec-LOCO"]
    first = mmad.images[0]
    assert (first.category, first.path, first.is_normal) == ("bottle", root / BOTTLE, False)
    assert first.questions[2].column == "object_analysis"
    assert first.questions[4].options == ("Top", "Left", "Right", "Bottom", "Middle")
    assert [path.name for path in first.templates[TemplateKind.similar]] == ["000.png", "001.png", "002.png"]
    assert [path.name for path in first.templates[TemplateKind.random]] == ["002.png", "001.png", "000.png"]


def test_its_folder_may_be_spelled_in_capitals_and_a_missing_one_says_where_to_get_it(tmp_path: Path) -> None:
    write_mmad(tmp_path / "MMAD")
    mmad = read_mmad(config(tmp_path / "mmad"), check_images=True)
    assert mmad.images[0].path == tmp_path / "MMAD" / BOTTLE
    with pytest.raises(UserError, match=r"No folder of MMAD at .*nowhere\. Get it: hf download \S*MMAD"):
        read_mmad(config(tmp_path / "nowhere"), check_images=True)


def test_the_normal_flag_is_case_sensitive(root: Path) -> None:
    images = {image.key: image.is_normal for image in read_mmad(config(root), check_images=True).images}
    assert not images["GoodsAD/drink_can/test/deformation/007.jpg"]
    assert images["GoodsAD/drink_can/test/good/008.jpg"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"Answer": "E"}, "answer outside the options"),
        ({"Answer": ["A"]}, "answer outside the options"),
        ({"Options": {"A": "Yes."}}, "one option"),
        ({"Options": {}}, "no options"),
        ({"Options": {"B": "Yes.", "C": "No."}}, "option letters are not A, B, …"),
        ({"Question": " "}, "no question"),
        ({"type": "Poetry"}, "unknown type"),
        ({"type": []}, "unknown type"),
        ({"Question": "What product is it?"}, "duplicate question"),
    ],
)
def test_a_bad_question_is_left_out_and_named(root: Path, change: dict, reason: str) -> None:
    entries = write_mmad(root)
    entries[BOTTLE]["conversation"][-1] |= change
    write_json(root / "mmad.json", entries)
    mmad = read_mmad(config(root), check_images=True)
    assert count_reasons(mmad.skipped) == {reason: 1}
    assert mmad.skipped[0].image == BOTTLE
    assert mmad.count == 46


@pytest.mark.parametrize(
    ("key", "change", "reason"),
    [
        ("../DS-MVTec/bottle/image/good/001.png", {}, "path outside the root"),
        ("/DS-MVTec/bottle/001.png", {}, "path outside the root"),
        ("VisA/candle/test/bad/002.JPG", {"image_path": "../../secret.png"}, "path outside the root"),
        ("VisA/candle/test/bad/999.JPG", {}, "missing image"),
        ("ImageNet/dog/1.png", {}, "unknown dataset"),
        ("VisA/candle/test/bad/002.JPG", {"conversation": None}, "no conversation"),
    ],
)
def test_a_bad_image_is_left_out_and_named(root: Path, key: str, change: dict, reason: str) -> None:
    entries = write_mmad(root)
    entries[key] = copy.deepcopy(entries[BOTTLE]) | change
    write_json(root / "mmad.json", entries)
    skipped = read_mmad(config(root), check_images=True).skipped
    assert [(one.image, one.question, one.reason) for one in skipped] == [(key, "", reason)]


def test_a_link_that_leads_out_is_left_out_and_named(root: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    secret = tmp_path_factory.mktemp("elsewhere") / "secret.png"
    template = read_mmad(config(root), check_images=True).images[0].templates[TemplateKind.similar][0]
    for path in (root / BOTTLE, template):
        path.replace(secret)
        path.symlink_to(secret)
    mmad = read_mmad(config(root), check_images=True)
    assert [(one.image, one.reason) for one in mmad.skipped] == [(BOTTLE, "path outside the root")]
    assert not any(template in paths for image in mmad.images for paths in image.templates.values())


def test_scoring_a_log_needs_no_images(root: Path) -> None:
    (root / BOTTLE).unlink()
    assert read_mmad(config(root), check_images=False).count == 47
    assert read_mmad(config(root), check_images=True).count == 40


@pytest.mark.parametrize("content", [[], {}, {"x": 1}])
def test_a_file_without_questions_is_refused(tmp_path: Path, content: object) -> None:
    write_json(tmp_path / "mmad.json", content)
    with pytest.raises(UserError, match=r"mmad\.json"):
        read_mmad(config(tmp_path), check_images=True)


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        (BOTTLE, "mvtec/bottle/test/broken_large/000.png"),
        ("DS-MVTec/bottle/image/good/001.png", "mvtec/bottle/test/good/001.png"),
        ("MVTec-AD/bottle/train/good/001.png", "mvtec/bottle/train/good/001.png"),
        ("VisA/candle/test/bad/002.JPG", "visa/candle/Data/Images/Anomaly/002.JPG"),
        ("VisA/candle/test/good/006.JPG", "visa/candle/Data/Images/Normal/006.JPG"),
        ("GoodsAD/drink_can/test/good/008.jpg", "mmad/GoodsAD/drink_can/test/good/008.jpg"),
    ],
)
def test_the_raw_layout_is_that_of_eiad(key: str, expected: str) -> None:
    raw = MMADConfig(data_root="mmad", layout=ImageLayout.raw, mvtec_root="mvtec", visa_root="visa")
    assert locate(key, raw, Path("mmad.json")) == Path(expected)


def test_the_raw_layout_needs_its_roots(root: Path) -> None:
    with pytest.raises(UserError, match="mvtec_root"):
        read_mmad(MMADConfig(data_root=str(root), layout=ImageLayout.raw), check_images=True)


def test_domain_knowledge_is_joined_by_category(root: Path) -> None:
    known = read_knowledge(root)
    assert known["DS-MVTec", "bottle"] == "It is whole.\nA line through it."
    assert set(known) == {
        ("DS-MVTec", "bottle"),
        ("DS-MVTec", "zipper"),
        ("MVTec-LOCO", "juice_bottle"),
        ("VisA", "candle"),
        ("GoodsAD", "drink_can"),
    }
    write_json(root / "domain_knowledge.json", {"VisA": []})
    with pytest.raises(UserError, match="domain_knowledge"):
        read_knowledge(root)
