"""A vision expert of the user's own, `package.module:Class`: a class outside of the project.

    class Mine:
        name = "mine, version 1"                             # in results, and in the keys of what it computes
        def __init__(self, device, **options): ...           # auto, cpu, cuda …; what `options.NAME=` says
        def score(self, category, images): ...               # an anomaly map (H, W) and a score of each (H, W, 3)
        def fit(self, category, samples): ...                # if it learns: from the normal samples of a category,
        def save(self, folder): ...                          # which replace what it knew of it …
        def load(self, folder): ...                          # … and then these two as well

Gates and checks are not its affair. Its fitted folder holds what `save` wrote, `gate.json`, and `expert.json` with
its name, its options and the version of its source: it is loaded by that version alone.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from data.errors import UserError, brief
from data.files import hash_value
from data.plugins.classes import FORM, check_is_class, check_method
from data.plugins.load import Kind, Plugin, load_plugin
from data.sample import ImageArray, Sample
from models.experts.expert import Detection, Gate, MapArray, detect_by_category
from models.experts.store import read_expert, read_gates, write_expert, write_gates

METHODS = {"score": ("category", "images"), "fit": ("category", "samples"), "save": ("folder",), "load": ("folder",)}


class OwnExpert:
    """An expert of the user's own as others see it; see `models.experts.expert.Expert`.

    Args:
        plugin: Its class.
        options: Arguments of the class, beside the device.
        device: `auto`, `cpu`, `cuda` …, see `models.device`.

    Raises:
        UserError: If the class does not take the options, or has no name.
    """

    sees_truth = False

    def __init__(self, plugin: Plugin, options: Mapping[str, Any], device: str) -> None:
        self.plugin, self.options = plugin, dict(options)
        try:
            inspect.signature(plugin.found).bind(device=device, **options)
        except TypeError as error:
            raise UserError(
                f"expert={plugin.name} does not take device and options={self.options}: {error}."
            ) from error
        self.inner = plugin.found(device=device, **options)
        if not isinstance(name := getattr(self.inner, "name", None), str) or not name:
            raise UserError(f'expert={plugin.name} has no name. Write in its class: name = "…", with a version in it.')
        self.name = f"{name} ({plugin.name})"
        self.gates: dict[str, Gate] = {}

    @classmethod
    def make(cls, name: str, options: Mapping[str, Any], device: str, known: Sequence[str] = ()) -> OwnExpert:
        """An expert that knows nothing yet.

        Args:
            name: `package.module:Class`.
            options: As above.
            device: As above.
            known: Names of the experts that come with the project.

        Raises:
            UserError: If it cannot be imported (see `load_plugin`), or does not have the form.
        """
        return cls(import_class(name, known), options, device)

    @classmethod
    def load(cls, name: str, folder: Path, device: str, known: Sequence[str] = ()) -> OwnExpert:
        """Loads what `save` wrote.

        Args:
            name: As in `make`.
            folder: Where to.
            device: Where it runs here.
            known: As in `make`.

        Raises:
            UserError: If the folder holds another expert, or one that another version of its source has fitted.
        """
        plugin = import_class(name, known)
        saved = read_expert(folder, name)["config"]
        expert = cls(plugin, saved["options"], device)
        if saved != expert.config:
            raise UserError(f"{folder} was fitted with another version of {name}. Fit it again.")
        if expert.learns:
            expert.inner.load(folder)
        expert.gates = read_gates(folder)
        return expert

    @property
    def config(self) -> dict[str, Any]:
        """What tells it from another version of itself."""
        return {"name": self.inner.name, "version": self.plugin.version, "options": self.options}

    @property
    def identity(self) -> str:
        """Hash of what its maps depend on, besides the images and what it has learned."""
        return hash_value([self.plugin.name, self.config])

    @property
    def learns(self) -> bool:
        """Whether it is fitted; of others, only the gate is."""
        return learns(self.plugin)

    def fit(self, category: str, samples: Sequence[Sample]) -> None:
        """Learns a category from normal samples, instead of what it knew of it."""
        self.inner.fit(category, samples)

    def check(self, categories: Sequence[str]) -> None:
        """Refuses categories without a gate; see `Expert.check`."""
        if missing := sorted(set(categories) - set(self.gates)):
            raise UserError(
                f"{self.name} was not fitted for {', '.join(missing)}, but for {', '.join(self.gates) or 'none'}. Fit "
                f"it: python -m scripts.fit_expert expert={self.plugin.name}."
            )

    def detect(self, samples: Sequence[Sample], images: Sequence[ImageArray]) -> list[Detection]:
        """Looks at images; see `Expert.detect`."""
        return detect_by_category(self, samples, images)

    def score(self, category: str, images: Sequence[ImageArray]) -> list[tuple[MapArray, float]]:
        """Map and score of images of one category.

        Raises:
            UserError: If the class returns something else.
        """
        found = self.inner.score(category, images)
        try:
            pairs = [(np.asarray(anomaly_map, np.float32), float(score)) for anomaly_map, score in found]
        except (TypeError, ValueError) as error:
            raise UserError(
                f"{self.name} returned {brief(found)}: score() must give an anomaly map and a score of each image."
            ) from error
        if len(pairs) != len(images):
            raise UserError(f"{self.name} scored {len(pairs)} of {len(images)} images. score() must score each.")
        for (anomaly_map, score), image in zip(pairs, images, strict=True):
            if anomaly_map.shape != image.shape[:2]:
                raise UserError(
                    f"{self.name} returned a map of {anomaly_map.shape} for an image of {image.shape[:2]}. Resize it."
                )
            if not np.isfinite(anomaly_map).all() or not np.isfinite(score):
                raise UserError(f"{self.name} returned a map or a score with NaN or infinity (score {score}).")
        return pairs

    def save(self, folder: Path, fitted: Mapping[str, list[str]]) -> None:
        """Writes what was learned and the gates; `fitted` holds the ids of the images that each category has seen."""
        if self.learns:
            self.inner.save(folder)
        write_gates(folder, self.gates)
        write_expert(folder, self.plugin.name, self.config, fitted)


def import_class(name: str, known: Sequence[str] = ()) -> Plugin:
    """The class of an expert; none is made of it.

    Args:
        name: `package.module:Class`.
        known: Names of the experts that come with the project.

    Raises:
        UserError: If it cannot be imported (see `load_plugin`), is no class, or lacks a method or a parameter of it.
    """
    plugin = load_plugin(name, Kind("expert", FORM, known))
    check_is_class(plugin, "expert")
    for method in METHODS if learns(plugin) else ["score"]:
        why = " because it has fit()" if method in ("save", "load") else ""
        check_method(plugin, "expert", method, METHODS[method], f", which it needs{why}")
    return plugin


def learns(plugin: Plugin) -> bool:
    """Whether the experts of a class are fitted; of others, only the gate is."""
    return hasattr(plugin.found, "fit")
