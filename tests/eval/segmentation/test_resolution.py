"""What maps and masks are brought to, against NumPy."""

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from data.errors import UserError
from eval.conventions.named import MaskRule
from eval.segmentation.resolution import Resolution


def test_masks_nearest_and_bilinear_differ_at_the_edge() -> None:
    mask = np.zeros((90, 60), bool)
    mask[31:50, 17:41] = mask[9, 5:55] = True  # a line of one pixel is no half of any
    nearest, bilinear = (Resolution(24, mask_rule=rule).fit_mask(mask) for rule in MaskRule)
    shares = np.asarray(Image.fromarray(mask.astype(np.uint8) * 255).resize((24, 24), Image.Resampling.BILINEAR)) / 255
    assert (bilinear == (shares > 0.5)).all()
    assert (bilinear != nearest).any()
    assert Resolution(24).mask_facts == [] and Resolution(24, mask_rule=MaskRule.bilinear).mask_facts


def test_smoothing_is_scipys_gaussian() -> None:
    anomaly_map = np.random.default_rng(0).normal(size=(40, 52)).astype(np.float32)
    smooth = Resolution(smoothing=4.0).fit_map(anomaly_map, (40, 52), "a")
    assert np.allclose(smooth, ndimage.gaussian_filter(anomaly_map, 4.0), atol=1e-5)
    assert smooth.dtype == np.float32 and Resolution().fit_map(anomaly_map, (40, 52), "a") is anomaly_map


def test_mask_map_and_image_are_cropped_alike() -> None:
    """A square in the centre of 100 px, shown at 50 px, of which the central 30 are measured."""
    mask = np.zeros((100, 100), bool)
    mask[40:60, 44:56] = True
    image = np.repeat(mask[..., None], 3, 2).astype(np.uint8) * np.uint8(255)
    resolution = Resolution(None, False, 50, 30)
    assert resolution.target((100, 100)) == (30, 30)
    cut = mask[::2, ::2][10:40, 10:40]
    assert (resolution.fit_mask(mask) == cut).all()
    assert ((resolution.show(image)[..., 0] > 127) == cut).all()
    whole = resolution.fit_map(mask.astype(np.float32), (100, 100), "a")
    assert ((whole > 0.5) == cut).all()
    shown = np.random.default_rng(0).normal(size=(30, 30)).astype(np.float32)
    assert resolution.fit_map(shown, (100, 100), "a") is shown
    with pytest.raises(UserError, match=r"is 20x20, expected 100x100 or 30x30"):
        resolution.fit_map(np.zeros((20, 20), np.float32), (100, 100), "a")


def test_a_map_of_what_was_shown_is_never_cropped_again() -> None:
    """The image has the size of the crop itself: only who looks at images knows what the map is of."""
    anomaly_map = np.zeros((30, 30), np.float32)
    anomaly_map[0, 0] = 1
    looks, files = (Resolution(None, False, 50, 30, looks=looks) for looks in (True, False))
    assert looks.fit_map(anomaly_map, (30, 30), "a")[0, 0] == 1
    assert files.fit_map(anomaly_map, (30, 30), "a").max() == 0
