from data.readers.visa_ac import read_visa_ac
from data.sample import load_image, load_mask


def test_hyphens_and_underscores_become_spaces(write_tree) -> None:
    normal, defective = read_visa_ac(write_tree("visa_ac"))
    assert (normal.defect, defective.defect) == (None, "middle breakage small scratches")
    assert load_mask(defective, load_image(defective.image).shape[:2]).sum() == 16
