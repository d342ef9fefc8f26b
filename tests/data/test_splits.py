import shutil

import pytest

from data.errors import UserError
from data.source import Source, load_samples
from data.splits import check_disjoint


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
