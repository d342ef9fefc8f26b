from pathlib import Path

import pytest
import yaml

from data.doctor.counts import CONFIDENCE, PUBLISHED, compare, count_samples
from data.doctor.signatures import signatures
from data.readers.bsdata import read_bsdata
from data.sample import Sample


def sample(index: int, category: str, split: str, defect: str | None = None) -> Sample:
    path = Path(f"{category}/{split}/{index}.png")
    return Sample(id=str(path), dataset="x", category=category, split=split, image=path, defect=defect)


def test_counts_by_category_and_split() -> None:
    samples = [
        sample(0, "b", "test", "cut"),
        sample(1, "b", "test", "cut"),
        sample(2, "b", "test"),
        sample(3, "a", "train"),
    ]
    first, second = count_samples(samples)
    assert (first.category, first.split, first.normal, first.anomalous) == ("a", "train", 1, 0)
    assert (second.normal, second.anomalous, second.defects) == (1, 2, {"cut": 2})


def test_only_categories_that_are_there_are_compared() -> None:
    rows = count_samples([sample(index, "bottle", "test", "broken large") for index in range(20)])
    compared = {row.what: (row.published, row.found) for row in compare("mvtec_ad", rows)}
    assert compared == {
        "categories": (15, 1),
        "bottle: broken_large": (20, 20),
        "bottle: broken_small": (22, 0),
        "bottle: contamination": (21, 0),
    }
    assert compare("no such set", rows) == []


def test_the_published_table_is_consistent() -> None:
    table = yaml.safe_load(PUBLISHED.read_text())
    assert set(table) <= {signature.reader for signature in signatures()}
    for name, entry in table.items():
        assert set(entry) <= {"categories", "counts", "defects"}, name
        for what, (number, confidence) in entry.get("counts", {}).items():
            assert number > 0
            assert confidence in CONFIDENCE
            assert what.split()[-1] in ("images", "normal", "anomalous")
    for name in ("mvtec_ad", "mvtec_ac"):
        total = sum(sum(defects.values()) for defects, _ in table[name]["defects"].values())
        kind = "test anomalous" if name == "mvtec_ad" else "anomalous"
        assert total == table[name]["counts"][kind][0]


@pytest.mark.parametrize("what", ["images", "anomalous", "train images", "none images"])
def test_bsdata_is_as_published(what: str, real_data: Path) -> None:
    compared = {row.what: row for row in compare("bsdata", count_samples(read_bsdata(real_data / "datasets/bsdata")))}
    assert compared[what].found == compared[what].published
