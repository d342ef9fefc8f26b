import pytest

from data.errors import UserError
from models.experts.load import load_expert


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("patchcore", "images=PHOTOS"),
        ("anomalib:Padim", "images=PHOTOS"),
        ("mdlm", "mdlm.run=RUN dataset=NAME data_root=FOLDER"),
        ("precomputed", "dataset=NAME data_root=FOLDER"),
    ],
)
def test_without_a_folder_the_whole_command_that_fits_an_expert_is_told(name: str, data: str) -> None:
    with pytest.raises(UserError, match=f"scripts.fit_expert expert={name} {data} out=DIR; then give expert_dir=DIR"):
        load_expert(name, "")
