import shutil
from dataclasses import replace

import pytest

from data.errors import UserError
from data.source import Source, load_samples
from data.splits import check_disjoint, check_unseen


def samples(root):
    return load_samples([Source(reader="mvtec_ad", root=str(root))]).samples


def test_disjoint_sets_pass(write_mvtec) -> None:
    check_disjoint(
        samples(write_mvtec("a", ("gear",), seed=1)),
        samples(write_mvtec("b", ("washer",), seed=2)),
    )


def test_a_shared_category_is_refused(write_mvtec) -> None:
    with pytest.raises(UserError, match=r"washer \(mvtec_ad\)"):
        check_disjoint(samples(write_mvtec("a", seed=1)), samples(write_mvtec("b", seed=2)))


def test_a_shared_image_is_refused(write_mvtec) -> None:
    first, second = write_mvtec("a", ("gear",), seed=1), write_mvtec("b", ("washer",), seed=2)
    shutil.copy(first / "gear/train/good/000.png", second / "washer/train/good/001.png")
    with pytest.raises(UserError, match=r"gear/train/good/000\.png and .*washer/train/good/001\.png"):
        check_disjoint(samples(first), samples(second))


@pytest.mark.parametrize("name", ["ds_mvtec", "mvtec_ac", "mvtec_loco"])
def test_a_relative_with_the_same_category_is_refused(name: str, write_mvtec) -> None:
    trained = [replace(s, dataset=name, category="Gear") for s in samples(write_mvtec("a", ("gear",), seed=1))]
    unseen = samples(write_mvtec("b", ("gear",), seed=2))
    with pytest.raises(UserError, match=r"gear \(mvtec_ad\)"):
        check_disjoint(trained, unseen)
    check_disjoint([replace(s, dataset="vision") for s in trained], unseen)


def test_training_on_an_unseen_dataset_or_its_relative_is_refused() -> None:
    check_unseen(["bsdata", "real_iad"], ["mvtec_ad", "visa"])
    for name, message in (("visa", "would use 'visa'; 'visa' is in data.unseen"), ("ds_mvtec", "shares .* 'mvtec_ad'")):
        with pytest.raises(UserError, match=message):
            check_unseen(["bsdata", name], ["mvtec_ad", "visa"])
