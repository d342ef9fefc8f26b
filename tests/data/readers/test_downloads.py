from pathlib import Path

from data.readers.downloads import HOW, how_to_get
from data.readers.registry import READERS

OWN = {"folder", "photos"}  # a user's own pictures come from nowhere


def test_every_public_dataset_has_a_place_to_get_it_from() -> None:
    for reader in READERS:
        said = how_to_get(reader, Path("/datasets") / reader)
        assert said == "Check the path" if reader in OWN else said.startswith("Get it: "), reader
        assert reader in OWN or f"/datasets/{reader}" in said
    assert set(HOW) - set(READERS) == {"mmad", "velm"}


def test_generated_products_are_made() -> None:
    assert how_to_get("mvtec_ad", Path("runs/x/data/seen")).endswith("scripts.make_synthetic run_dir=runs/x")
