import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from data.errors import UserError
from eval.calibration.conformal import expected_alarms, threshold_at
from eval.calibration.drift import drift_warning, find_drift
from eval.calibration.file import (
    CALIBRATION,
    Calibration,
    Method,
    calibration_path,
    read_calibration,
    write_calibration,
)
from eval.calibration.probability import fit_scaling
from eval.segmentation.expert import expert_digest


def calibrate(sound: np.ndarray, rate: float = 0.05, category: str = "") -> Calibration:
    threshold = threshold_at(sound, rate)
    return Calibration(
        threshold=threshold,
        false_alarms=rate,
        normals=len(sound),
        fresh=200,
        interval=expected_alarms(len(sound), rate, 200),
        method=Method.held_out,
        model="abc",
        category=category,
        defects=20,
        found=1.0,
        scaling=fit_scaling(sound, sound.max() + np.arange(20)),
        drift=find_drift(sound, threshold),
    )


def test_a_calibration_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    made = calibrate(np.random.default_rng(0).normal(size=60))
    write_calibration(calibration_path(tmp_path), made)
    assert read_calibration(tmp_path, "abc") == made
    values = json.loads((tmp_path / CALIBRATION).read_text())
    assert {"threshold", "false_alarms", "normals", "interval"} <= values.keys()
    assert values["false_alarms"] == 0.05 and values["normals"] == 60
    assert made.probability(made.threshold + 20) > 0.9 and made.probability(-9) < 0.1
    low, high = made.interval
    assert 0 <= low < 0.05 < high < 0.2
    assert "5 % false alarms, from 60 sound images that the model was not fitted on" in made.describe()
    assert f"expect {round(200 * low)} to {round(200 * high)}" in made.describe()
    assert "Of 20 defective images, 100 % reach it." in made.describe()
    told = replace(made, trained=7).describe()
    assert "from 60 sound images of which 7 are of the products that the run was trained on" in told
    assert "which the model must not have been trained on" in replace(made, trained=None).describe()


def test_a_folder_without_a_calibration_has_none(tmp_path: Path) -> None:
    assert read_calibration(tmp_path) is None
    assert read_calibration(tmp_path / "missing", "abc", "washer") is None


def test_the_calibration_of_another_model_or_category_is_refused(tmp_path: Path) -> None:
    sound = np.arange(60.0)
    write_calibration(calibration_path(tmp_path), calibrate(sound, category="washer"))
    with pytest.raises(UserError, match=r"calibration of another model .*Calibrate again"):
        read_calibration(tmp_path, "def")
    with pytest.raises(UserError, match="of 'washer', not of 'bolt'"):
        read_calibration(tmp_path, "abc", "bolt")
    own = calibrate(sound + 1, category="bolt")
    write_calibration(calibration_path(tmp_path, "bolt"), own)
    assert read_calibration(tmp_path, "abc", "bolt") == own


@pytest.mark.parametrize("content", ["[]", "{}", '{"interval": [0, 1]}', '{"interval": 3, "method": "held_out"}'])
def test_another_file_is_no_calibration(tmp_path: Path, content: str) -> None:
    (tmp_path / CALIBRATION).write_text(content)
    with pytest.raises(UserError, match="Not a calibration"):
        read_calibration(tmp_path)


def test_scores_that_drift_raise_a_warning_and_others_do_not() -> None:
    draws = np.random.default_rng(0)
    made = calibrate(draws.normal(size=200))
    warned = sum(drift_warning(made, draws.normal(size=100)) is not None for _ in range(200))
    assert warned <= 12  # 99 % interval; the calibration is one draw, too
    some_defects = np.r_[draws.normal(size=100), np.full(40, 9.0)]
    assert drift_warning(made, some_defects) is None  # defects are no drift
    shifted = drift_warning(made, draws.normal(0.6, size=100))
    assert shifted is not None and "Scores have drifted" in shifted and "5 % false alarms" in shifted
    assert "Scores have drifted" in str(drift_warning(made, draws.normal(-1, size=100)))  # so do lower ones
    far = drift_warning(made, draws.normal(9, size=100))
    assert far is not None and "100 of 100 images reach the threshold" in far and "scripts.calibrate" in far
    assert drift_warning(made, [9.0] * 9) is None  # too few to tell


def test_what_an_expert_is_does_not_depend_on_its_calibration(tmp_path: Path) -> None:
    (tmp_path / "expert.json").write_text("{}")
    before = expert_digest("patchcore", str(tmp_path))
    write_calibration(calibration_path(tmp_path), calibrate(np.arange(60.0)))
    write_calibration(calibration_path(tmp_path, "bolt"), calibrate(np.arange(60.0)))
    assert expert_digest("patchcore", str(tmp_path)) == before
    (tmp_path / "expert.json").write_text("{ }")
    assert expert_digest("patchcore", str(tmp_path)) != before


def test_the_sound_scores_are_kept_and_counted_and_older_files_do_without(tmp_path: Path) -> None:
    made = replace(calibrate(np.arange(40.0)), sound=tuple(map(float, range(40))))
    write_calibration(calibration_path(tmp_path), made)
    read = read_calibration(tmp_path)
    assert read == made and [read.flagged_at(at) for at in (-1, 0, 10, 10.5, 39, 40)] == [40, 40, 30, 29, 1, 0]
    values = json.loads((tmp_path / CALIBRATION).read_text())
    del values["sound"]
    (tmp_path / CALIBRATION).write_text(json.dumps(values))
    older = read_calibration(tmp_path)
    assert older is not None and older.sound == () and older.flagged_at(3) is None
    (tmp_path / CALIBRATION).write_text(json.dumps({**values, "sound": ["x"]}))
    with pytest.raises(UserError, match="Not a calibration"):
        read_calibration(tmp_path)
