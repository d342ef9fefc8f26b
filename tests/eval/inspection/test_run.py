"""Whole inspections with a source whose map is the red channel."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from data.classes.policy import Action, Policy
from data.errors import UserError
from data.processes.lock import held
from data.sample import ImageArray, load_image
from eval.calibration.conformal import expected_alarms
from eval.calibration.drift import find_drift
from eval.calibration.file import Calibration, Method
from eval.inspection.config import InspectConfig, Overlay, Pictures
from eval.inspection.inspector import Inspector
from eval.inspection.run import Inspection, as_json, describe, run_inspection
from eval.inspection.sources import Picture
from models.contour import RED
from models.eiad import Look
from models.velm.judge import Marked


class Redness:
    """A photo's map is its red channel in 0..1, its score the map's top; counts what it is shown."""

    name, key, category = "redness", "red-1", ""
    threshold = pixel = 0.5
    bounded = True

    def __init__(self, folder: Path) -> None:
        self.folder, self.seen, self.loads = folder, [], 0  # type: ignore[var-annotated]

    def ready(self, image: ImageArray) -> None:
        """Nothing."""

    def look(self, pictures: Sequence[Picture]) -> list[Look]:
        self.seen += [picture.name for picture in pictures]
        maps = [picture.image[..., 0].astype(np.float32) / 255 for picture in pictures]
        return [Look(anomaly_map=one, score=float(one.max())) for one in maps]


class Place:
    """Photos, a source, and inspections of the ones by the other."""

    def __init__(self, folder: Path) -> None:
        self.photos, self.out, self.source = folder / "photos", folder / "out", Redness(folder)

    def write(self, name: str, *, red: int = 30, where: tuple[slice, slice] = np.s_[10:20, 30:50]) -> Path:
        pixels = np.full((40, 60, 3), 30, np.uint8)
        pixels[(*where, 2)] = red  # BGR
        path = self.photos / name
        path.parent.mkdir(parents=True, exist_ok=True)
        assert cv2.imwrite(str(path), pixels)
        return path

    def inspect(self, *, calibration: Calibration | None = None, **values: Any) -> Inspection:
        config = InspectConfig(images=str(self.photos), run="red", out=str(self.out), **values)

        def load(config: InspectConfig) -> Inspector:
            self.source.loads += 1
            return Inspector(self.source, config, calibration=calibration)  # type: ignore[arg-type]

        return run_inspection(config, load)

    def table(self) -> list[dict[str, str]]:
        with (self.out / "results.csv").open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_a_folder_gets_rows_masks_overlays_and_pages(place: Place) -> None:
    place.write("good.png")
    bad = place.write("bad.png", red=240)
    inspection = place.inspect()
    good, found = sorted(place.table(), key=lambda row: row["verdict"] != "ok")
    assert (good["verdict"], good["defects"], good["mask"], good["action"]) == ("ok", "0", "", "pass")
    assert (found["verdict"], found["defects"], found["boxes"]) == ("defect", "1", "30 10 50 20")
    assert found["image"] == str(bad) and float(found["score"]) == pytest.approx(240 / 255, rel=1e-4)
    assert (found["places"], found["areas"], found["action"]) == ("center", "200", "ask")
    expected = np.zeros((40, 60), bool)
    expected[10:20, 30:50] = True
    assert np.array_equal(load_image(place.out / found["mask"])[..., 0] > 0, expected)
    overlay = load_image(place.out / found["overlay"]).astype(int)
    assert np.abs(overlay[9, 40] - RED).max() < 90 and np.abs(overlay[15, 40] - (240, 30, 30)).max() < 60
    assert inspection.summary["verdicts"] == {"ok": 1, "defect": 1, "unsure": 0, "unreadable": 0}
    assert "2 photos: 1 ok, 1 defect" in describe(inspection)
    assert json.loads((place.out / "summary.json").read_text())["threshold"] == 0.5
    assert "<img" in (place.out / "report.html").read_text()


def test_one_photo_is_one_line_of_json_with_its_files(place: Place) -> None:
    place.write("part.png")
    told = as_json(place.inspect())
    json.dumps(told)
    assert {"description", "score", "mask", "overlay", "image", "verdict", "threshold", "regions"} <= set(told)
    assert Path(told["mask"]).is_file() and Path(told["overlay"]).is_file()  # although it is ok
    assert "no visible defect" in told["description"]


def test_photos_of_one_name_in_two_folders_and_of_two_suffixes_stay_apart(place: Place) -> None:
    for name in ("a/1.png", "b/1.png", "1.png", "1.bmp"):
        place.write(name, red=240)
    inspection = place.inspect()
    files = [name for row in inspection.rows for name in (row.mask, row.overlay, row.thumbnail)]
    assert len(set(files)) == 12 and all((place.out / name).is_file() for name in files)
    assert {row.mask for row in inspection.rows} >= {"masks/a/1.png", "masks/b/1.png"}


def test_unreadable_photos_are_named_and_counted_and_the_rest_goes_on(place: Place) -> None:
    for index in range(30):
        place.write(f"{index:02d}.png")
    (place.photos / "05.png").write_bytes(b"\x89PNG nonsense")
    (place.photos / "06.png").write_bytes(b"")
    (place.photos / "lost.png").symlink_to(place.photos / "nowhere.png")
    inspection = place.inspect(batch_size=4)
    assert inspection.unreadable == 3 and len(inspection.rows) == 31
    by_name = {Path(row["image"]).name: row for row in place.table()}
    assert "Corrupt image" in by_name["05.png"]["error"] and "zero bytes" in by_name["06.png"]["error"]
    assert by_name["lost.png"]["verdict"] == "unreadable" and by_name["05.png"]["score"] == ""
    assert by_name["07.png"]["verdict"] == "ok"
    assert "05.png" in describe(inspection)
    place.write("05.png")
    assert place.inspect().unreadable == 2  # it is tried again


def test_nothing_readable_at_all_is_an_error(place: Place) -> None:
    place.write("1.png").write_bytes(b"\x89PNG nonsense")
    with pytest.raises(UserError, match="No photo can be read: Corrupt image"):
        place.inspect()


def test_it_goes_on_where_it_was_cut_off(place: Place) -> None:
    for index in range(5):
        place.write(f"{index}.png", red=50 * index)
    whole = place.inspect()
    assert place.source.loads == 1 and len(place.source.seen) == 5
    log = place.out / "results.jsonl"
    lines = log.read_text().splitlines(keepends=True)
    log.write_text("".join(lines[:3]) + lines[3][:20])  # killed while it wrote
    (place.out / whole.rows[0].thumbnail).unlink()
    place.source.seen.clear()
    again = place.inspect()
    assert sorted(place.source.seen) == ["0.png", "3.png", "4.png"]
    assert [replace(row, key="") for row in again.rows] == [replace(row, key="") for row in whole.rows]


def test_a_row_holds_as_long_as_what_it_depends_on(place: Place) -> None:
    place.write("1.png", red=120)

    def seen(**values: Any) -> int:
        place.source.seen.clear()
        place.inspect(**values)
        return len(place.source.seen)

    assert [seen(), seen(), seen(batch_size=2, workers=1, coco=True)] == [1, 0, 0]
    assert [seen(threshold=0.4), seen(threshold=0.4)] == [1, 0]
    place.write("1.png", red=121)
    assert seen(threshold=0.4) == 1  # other pixels
    moved = place.photos.rename(place.photos.with_name("moved"))
    place.photos = moved
    assert seen(threshold=0.4) == 0  # another path
    place.source.key = "red-2"
    assert seen(threshold=0.4) == 1  # another model
    assert seen(threshold=0.4, resume=False) == 1


def test_results_inside_of_the_photos_are_not_inspected(place: Place) -> None:
    place.write("1.png", red=240)
    place.out = place.photos / "out"
    place.inspect(pictures=Pictures.all)
    assert len(place.inspect().rows) == 1


@pytest.mark.parametrize("overlay", list(Overlay))
def test_overlays_differ(place: Place, overlay: Overlay) -> None:
    place.write("1.png", red=240)
    (row,) = place.inspect(overlay=overlay).rows
    drawn = load_image(place.out / row.overlay).astype(int)
    outlined, heated = drawn[9, 40, 0] > 120, np.abs(drawn[15, 40] - (240, 30, 30)).max() > 60
    assert (outlined, heated) == {
        Overlay.contour: (True, False),
        Overlay.heat: (False, True),
        Overlay.both: (True, True),
    }[overlay]


def test_a_calibration_gives_threshold_probability_and_words(place: Place) -> None:
    place.write("1.png", red=100)
    scores = np.linspace(0.1, 0.3, 40)
    calibration = Calibration(
        threshold=0.35,
        false_alarms=0.05,
        normals=40,
        fresh=200,
        interval=expected_alarms(40, 0.05, 200),
        method=Method.held_out,
        model="red-1",
        drift=find_drift(scores, 0.35),
    )
    inspection = place.inspect(calibration=calibration)
    (row,) = inspection.rows
    assert (row.threshold, row.verdict.value) == (0.35, "defect")  # 100 / 255 reaches it
    assert row.regions[0].box == (30, 10, 50, 20)  # below the pixel threshold: where the map is highest
    assert "5 % false alarms" in inspection.summary["threshold_stands_for"]
    assert "not known" in place.inspect(calibration=None, threshold=0.2).summary["threshold_stands_for"]


def test_a_threshold_outside_of_the_scores_is_said(place: Place) -> None:
    place.write("1.png", red=100)
    place.write("2.png", red=120)
    assert place.inspect(threshold=0.42).summary["warnings"] == []
    assert "above every score" in place.inspect(threshold=0.9).summary["warnings"][0]
    assert "below every score" in place.inspect(threshold=0.01).summary["warnings"][0]
    for wrong in (0.0, 1.5, -1.0, float("nan")):
        with pytest.raises(UserError, match=r"threshold=.* (outside of the scores|no number)"):
            place.inspect(threshold=wrong)


def test_names_are_escaped_on_the_page_and_in_the_table(place: Place) -> None:
    place.write("=1+1 <img src=x onerror=alert(1)>.png", red=240)
    place.inspect()
    page = (place.out / "report.html").read_text()
    assert "<img src=x" not in page and "&lt;img src=x" in page
    assert "http://" not in page.replace("http://www.w3.org", "") and "https://" not in page


def test_pictures_that_are_wanted_now_are_written(place: Place) -> None:
    place.write("1.png")
    place.write("2.png", red=240)
    assert [bool(row.mask) for row in place.inspect(pictures=Pictures.none).rows] == [False, False]
    place.source.seen.clear()
    assert [bool(row.mask) for row in place.inspect().rows] == [False, True]
    assert place.source.seen == ["2.png"]
    assert all((place.out / row.overlay).is_file() for row in place.inspect(pictures=Pictures.all).rows)
    place.source.seen.clear()
    assert len(place.inspect().rows) == 2 and not place.source.seen  # more than is wanted does no harm


def test_rows_of_several_processes_come_together(place: Place) -> None:
    for index in range(4):
        place.write(f"{index}.png")
    whole = place.inspect()
    log = place.out / "results.jsonl"
    lines = log.read_text().splitlines(keepends=True)
    log.write_text("".join(lines[::2]))
    (place.out / "results.rank1.jsonl").write_text("".join(lines[1::2]))
    place.source.seen.clear()
    assert place.inspect().rows == whole.rows and not place.source.seen
    assert not (place.out / "results.rank1.jsonl").exists() and len(log.read_text().splitlines()) == 4


def test_a_second_process_does_not_write_to_the_same_folder(place: Place) -> None:
    place.write("1.png")
    with held(place.out), pytest.raises(UserError, match="is in use by process"):
        place.inspect()


class Namer:
    """Calls every place the same, and counts them."""

    def __init__(self, name: str) -> None:
        self.called, self.places = name, 0

    def name(self, places: Sequence[Marked]) -> list[str]:
        self.places += len(places)
        return [self.called] * len(places)

    def facts(self) -> list[str]:
        return [self.called]


def test_each_region_of_a_flagged_photo_is_named_and_the_policy_acts(place: Place) -> None:
    path = place.write("1.png", red=240)
    pixels = cv2.imread(str(path))
    pixels[30:34, 5:9, 2] = 200
    cv2.imwrite(str(path), pixels)
    place.write("2.png")
    policy = Policy("washer", {"good": Action.accept, "unknown": Action.ask, "bend": Action.scrap}, {})
    config = InspectConfig(images=str(place.photos), run="red", out=str(place.out), most_named=1)
    namer = Namer("bend")

    def load(config: InspectConfig) -> Inspector:
        return Inspector(place.source, config, judge=namer, policy=policy)  # type: ignore[arg-type]

    first, second = run_inspection(config, load).rows
    assert [(region.name, region.action) for region in first.regions] == [("bend", "scrap"), ("unknown", "ask")]
    assert (first.action, second.action, namer.places) == ("scrap", "pass", 1)
    assert "a bend at the" in first.description and "unknown class" in first.description
    assert "policy of 'washer' says scrap" in first.reason
    namer.called = "good"
    assert [row.verdict.value for row in run_inspection(replace(config, most_named=2), load).rows] == ["unsure", "ok"]
