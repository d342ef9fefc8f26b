from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from data.errors import UserError
from data.sample import Sample
from models.experts.expert import Gate
from models.experts.load import ExpertName, load_expert
from models.experts.patchcore import PatchCore, PatchCoreConfig, nearest_neighbours, thin


def stripes(seed: int, defect: bool = False, size: tuple[int, int] = (64, 64)) -> np.ndarray:
    rng = np.random.default_rng(seed)
    image = np.full((*size, 3), 90, np.uint8)
    image[:, ::4] = 160
    image = np.clip(image + rng.normal(0, 4, image.shape), 0, 255).astype(np.uint8)
    if defect:
        image[size[0] // 2 : size[0] // 2 + 12, size[1] // 4 : size[1] // 4 + 12] = (250, 30, 30)
    return image


def sample(category: str = "nut") -> Sample:
    return Sample(id="d/i", dataset="d", category=category, split="test", image=Path("i.png"))


@pytest.fixture
def fitted(tiny_patchcore: PatchCoreConfig) -> PatchCore:
    expert = PatchCore(tiny_patchcore)
    expert.fit("nut", [[stripes(seed) for seed in range(4)], [stripes(4)]])
    expert.gates["nut"] = Gate(1.0, 1.0)
    return expert


def test_finds_and_locates(fitted: PatchCore) -> None:
    normal, defective = fitted.detect([sample(), sample()], [stripes(9), stripes(10, defect=True, size=(96, 80))])
    assert defective.score > 2 * normal.score
    assert defective.anomaly_map.shape == (96, 80)
    assert defective.anomaly_map.dtype == np.float32
    y, x = np.unravel_index(defective.anomaly_map.argmax(), (96, 80))
    assert 44 <= y < 64
    assert 16 <= x < 36


def test_score_by_hand(fitted: PatchCore) -> None:
    """The largest distance, times 1 − the softmax share of its nearest point among that point's neighbours."""
    image = stripes(3, defect=True)
    memory = fitted.memory("nut").double()
    rows = fitted.backbone.patches(fitted.backbone.prepare([image]))[0].flatten(1).T.double()
    distances = torch.cdist(rows, memory)
    worst = int(distances.min(1).values.argmax())
    nearest = int(distances[worst].argmin())
    around = torch.cdist(memory[nearest][None], memory)[0].argsort()[:9]
    to_query = distances[worst][around]
    weight = 1 - torch.exp(to_query[0]) / torch.exp(to_query).sum()
    (_, score), *_ = fitted.score("nut", [image])
    assert score == pytest.approx(float(weight * distances[worst, nearest]), rel=1e-3)
    plain = PatchCore(replace(fitted.config, neighbours=1))
    plain.set_memory("nut", fitted.memory("nut"))
    assert plain.score("nut", [image])[0][1] == pytest.approx(float(distances[worst, nearest]), rel=1e-4)


def test_batches_do_not_matter(fitted: PatchCore) -> None:
    images = [stripes(seed, defect=seed % 2 == 0) for seed in range(20, 27)]
    together = fitted.score("nut", images)
    for image, (anomaly_map, score) in zip(images, together, strict=True):
        (alone_map, alone), *_ = fitted.score("nut", [image])
        assert score == pytest.approx(alone, rel=1e-4)
        assert anomaly_map == pytest.approx(alone_map, rel=1e-3, abs=1e-3)


def test_saved_is_loaded(fitted: PatchCore, tmp_path: Path) -> None:
    fitted.fit("nut/large", [[stripes(1)]])
    fitted.gates["nut/large"] = Gate(2.0, 3.0)
    fitted.save(tmp_path, {"nut": ["a"], "nut/large": []})
    loaded = load_expert(ExpertName.patchcore, str(tmp_path))
    image = stripes(8, defect=True)
    for category in ("nut", "nut/large"):
        before = fitted.detect([sample(category)], [image])[0]
        after = loaded.detect([sample(category)], [image])[0]
        assert (before.score, before.gate) == (after.score, after.gate)
        assert np.array_equal(before.anomaly_map, after.anomaly_map)


def test_an_unknown_category(fitted: PatchCore) -> None:
    with pytest.raises(UserError, match="no fitted memory for bolt; it has nut"):
        fitted.detect([sample("bolt")], [stripes(0)])


def test_bad_folders(fitted: PatchCore, tmp_path: Path, tiny_patchcore: PatchCoreConfig) -> None:
    with pytest.raises(UserError, match="No fitted expert"):
        load_expert(ExpertName.patchcore, str(tmp_path))
    with pytest.raises(UserError, match="needs a folder"):
        load_expert(ExpertName.patchcore, "")
    fitted.save(tmp_path, {})
    (tmp_path / "nut/memory.safetensors").unlink()
    with pytest.raises(UserError, match="No memory of 'nut'"):
        load_expert(ExpertName.patchcore, str(tmp_path))
    weights = Path(tiny_patchcore.backbone.weights)
    kept = weights.read_bytes()
    fitted.save(tmp_path, {})
    try:
        weights.write_bytes(kept[:-1] + bytes([kept[-1] ^ 1]))
        with pytest.raises(UserError, match="fitted with other weights"):
            load_expert(ExpertName.patchcore, str(tmp_path))
    finally:
        weights.write_bytes(kept)


def test_nothing_to_fit(tiny_patchcore: PatchCoreConfig) -> None:
    with pytest.raises(UserError, match="No normal images of 'nut'"):
        PatchCore(tiny_patchcore).fit("nut", [])


@pytest.mark.parametrize("values", [{"memory_share": 0.0}, {"memory_share": 1.5}, {"neighbours": 0}, {"blur": -1.0}])
def test_ranges(values: dict[str, float]) -> None:
    with pytest.raises(UserError, match=next(iter(values))):
        PatchCoreConfig(**values)


def test_the_memory_is_a_part_of_the_features() -> None:
    features = torch.randn(300, 20, generator=torch.Generator().manual_seed(0))
    memory = thin(features, PatchCoreConfig(memory_share=0.1, projection=8))
    assert memory.shape == (30, 20)
    assert (memory[:, None] == features[None]).all(2).any(1).all()
    assert torch.equal(memory, thin(features, PatchCoreConfig(memory_share=0.1, projection=8)))
    assert not torch.equal(memory, thin(features, PatchCoreConfig(memory_share=0.1, projection=8, seed=1)))
    assert thin(features, PatchCoreConfig(memory_share=1.0)) is features


def test_nearest_neighbours_against_brute_force() -> None:
    generator = torch.Generator().manual_seed(0)
    queries, memory = torch.randn(5000, 6, generator=generator), torch.randn(70, 6, generator=generator)
    distances, indices = nearest_neighbours(queries, memory, memory.square().sum(1))
    exact = torch.cdist(queries.double(), memory.double())
    assert torch.allclose(distances.double(), exact.min(1).values, atol=1e-4)
    assert torch.equal(indices, exact.argmin(1))


def test_a_point_of_the_memory_is_at_zero_never_nan() -> None:
    memory = torch.randn(20, 5, generator=torch.Generator().manual_seed(0)) * 100
    distances, indices = nearest_neighbours(memory, memory, memory.square().sum(1))
    assert torch.equal(indices, torch.arange(20))
    assert (distances < 0.5).all()
