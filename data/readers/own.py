"""A reader of the user's own, `package.module:function`: a function from a folder to its samples."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from typing import Any

from data.errors import UserError, brief
from data.plugins.load import Kind, load_plugin
from data.readers.listing import Listed, Reader
from data.sample import Sample

FORM = "package.module:function"


def load_reader(name: str, known: Sequence[str]) -> Reader:
    """Imports a reader.

    Args:
        name: `package.module:function`.
        known: Names of the readers that come with the project.

    Returns:
        The reader; what it lists is checked.

    Raises:
        UserError: If it cannot be imported (see `load_plugin`), or does not take a folder and, by keyword, options of
            plain types.
    """
    found = load_plugin(name, Kind("reader", FORM, known)).found
    if not callable(found):
        raise UserError(f"reader={name} is no function but {brief(found)}. Name a function: def read(root).")
    _check_parameters(found, name)

    @wraps(found)
    def read(root: Path, **options: Any) -> Listed:
        listed = found(root, **options)
        whole = listed if isinstance(listed, Listed) else Listed(listed, [])
        _check_samples(whole.samples, name)
        return whole

    return read


def _check_parameters(function: Callable[..., Any], name: str) -> None:
    try:
        parameters = list(inspect.signature(function, eval_str=True).parameters.values())
    except (NameError, TypeError, ValueError) as error:
        raise UserError(f"reader={name}: its parameters cannot be read ({error}). Repair its annotations.") from error
    places = [one for one in parameters if one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD)]
    if len(places) != 1 or any(one.kind in (one.VAR_POSITIONAL, one.VAR_KEYWORD) for one in parameters):
        shown = ", ".join(map(str, parameters))
        raise UserError(f"reader={name} takes ({shown}). It must take the folder alone, then options: (root, *, …).")
    for one in parameters:
        if one.kind is one.KEYWORD_ONLY and (one.default is one.empty or not _is_plain(one.annotation)):
            raise UserError(f"reader={name}: its option '{one.name}' needs a plain type and a default: str = …")


def _is_plain(annotation: Any) -> bool:
    """Whether a value can be checked against a type: `int` and `str | None` are plain, `list[str]` is not."""
    try:
        isinstance(None, annotation)
    except TypeError:
        return False
    return annotation is not inspect.Parameter.empty


def _check_samples(samples: Any, name: str) -> None:
    if not isinstance(samples, list):
        raise UserError(f"The reader {name} returned {brief(samples)}. It must return a list of data.sample.Sample.")
    for sample in samples:
        if not isinstance(sample, Sample) or not isinstance(sample.image, Path):
            raise UserError(f"The reader {name} lists {brief(sample)}. Each must be a Sample whose image is a Path.")
        if not sample.id.startswith(f"{sample.dataset}/") or "/../" in f"/{sample.id}/":
            raise UserError(
                f"The reader {name} gives {brief(str(sample.image))} the id {brief(sample.id)}. An id is "
                f"'{sample.dataset}/' and the path of the image below the folder; maps are stored by it."
            )
