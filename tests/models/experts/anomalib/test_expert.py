from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from data.errors import UserError
from data.sample import load_image
from data.source import Source, load_samples
from models.experts.anomalib.expert import AnomalibConfig, AnomalibExpert
from models.experts.expert import Gate
from models.experts.load import load_expert, parse_expert


def test_names() -> None:
    assert parse_expert("anomalib:Padim") == ("anomalib", "Padim")
    for name in ("anomalib", "patchcore:x", "anomalib:"):
        with pytest.raises(UserError, match="Unknown expert"):
            parse_expert(name)


@pytest.mark.skipif(find_spec("anomalib") is not None, reason="anomalib is installed")
def test_says_what_is_missing(write_mvtec: Callable[..., Path]) -> None:
    samples = load_samples([Source(reader="mvtec_ad", root=str(write_mvtec()))]).samples
    with pytest.raises(UserError, match="pip install 'anomalib"):
        AnomalibExpert("Padim", AnomalibConfig()).fit("washer", samples)


def test_fit_save_load(write_mvtec: Callable[..., Path], tmp_path: Path) -> None:
    pytest.importorskip("anomalib", reason="anomalib is not installed: pip install anomalib==2.7.0")
    root = write_mvtec(normals=4, defects=1)
    train = load_samples([Source(reader="mvtec_ad", root=str(root), splits=["train"])]).samples
    tested = load_samples([Source(reader="mvtec_ad", root=str(root), splits=["test"])]).samples
    arguments = {"backbone": "resnet18", "layers": ["layer1"], "pre_trained": False, "n_features": 16}
    expert = AnomalibExpert("Padim", AnomalibConfig(arguments=arguments))
    expert.fit("washer", train)
    expert.gates["washer"] = Gate(0.0, 0.0)
    images = [load_image(sample.image) for sample in tested]
    found = expert.detect(tested, images)
    assert all(one.anomaly_map.shape == image.shape[:2] for one, image in zip(found, images, strict=True))
    expert.save(tmp_path / "expert", {"washer": []})
    again = load_expert("anomalib:Padim", str(tmp_path / "expert")).detect(tested, images)
    assert all(np.allclose(a.anomaly_map, b.anomaly_map) for a, b in zip(found, again, strict=True))
    with pytest.raises(UserError, match="not 'anomalib:Stfpm'"):
        load_expert("anomalib:Stfpm", str(tmp_path / "expert"))
    with pytest.raises(UserError, match="anomalib cannot make 'Nope'"):
        AnomalibExpert("Nope", AnomalibConfig()).fit("washer", train)
