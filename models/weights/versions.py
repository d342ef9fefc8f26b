"""Whether the installed transformers knows the architecture of a checkpoint."""

from __future__ import annotations

from pathlib import Path

from data.errors import UserError
from data.files import read_json


def check_architecture(folder: Path) -> None:
    """Refuses a checkpoint whose classes are neither transformers' nor come with it.

    Raises:
        UserError: Naming the installed version and the one that wrote the checkpoint.
    """
    path = folder / "config.json"
    config = read_json(path) if path.is_file() else {}
    kind = config.get("model_type")
    if kind is None or "AutoConfig" in config.get("auto_map", {}):
        return
    import transformers  # slow to import
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    if kind not in CONFIG_MAPPING:
        written = config.get("transformers_version")
        by = f"; it was written by {written}: install that version or a newer one" if written else ""
        raise UserError(
            f"{folder} is a '{kind}', which the installed transformers {transformers.__version__} does not know{by}. "
            "If its model comes with code of its own, download its *.py and its own config.json, too."
        )
