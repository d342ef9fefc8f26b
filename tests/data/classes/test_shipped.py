from pathlib import Path

import pytest
import yaml

from data.classes.texts import GOOD, check_descriptions, load_products, plain_name
from data.factory.catalog import PRODUCTS, Group, categories_of

CLASSES = Path("data/classes")


@pytest.mark.parametrize("dataset", ["mvtec_ac", "visa_ac"])
def test_every_class_of_the_release_is_described(dataset: str) -> None:
    products = load_products(CLASSES / f"{dataset}.yaml")
    check_descriptions(products, CLASSES)
    release = yaml.safe_load((Path("data/classes/refined") / f"{dataset}.yaml").read_text())
    release = release.get("release", release)
    assert set(products) == set(release)
    for category, product in products.items():
        assert product.strategy
        described = {plain_name(entry.key) for entry in product.classes}
        assert described == {plain_name(name) for name in release[category] if name != GOOD}


def test_the_factory_is_described() -> None:
    products = load_products(CLASSES / "factory.yaml")
    check_descriptions(products, CLASSES)
    assert set(products) == set(categories_of(Group.UNSEEN))
    for category, product in products.items():
        assert {entry.key for entry in product.classes} == {
            name.replace(" ", "_") for name in PRODUCTS[category].defects
        }
