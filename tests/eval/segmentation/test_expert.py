from pathlib import Path

import pytest

from data.errors import UserError
from eval.segmentation.expert import EvalExpertConfig, evaluate_expert


@pytest.mark.parametrize(
    ("dataset", "root", "message"),
    [("mvtec_da", ".", "Did you mean mvtec_ad"), ("mvtec_ad", "nowhere", "No dataset folder at nowhere")],
)
def test_the_dataset_is_looked_for_before_weights(dataset: str, root: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message):
        evaluate_expert(EvalExpertConfig(expert="winclip", dataset=dataset, data_root=root, out=str(tmp_path)))
