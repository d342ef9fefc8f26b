import json
from pathlib import Path

import pytest

from data.errors import UserError
from models.weights.versions import check_architecture


def write(folder: Path, **config: object) -> Path:
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def test_an_architecture_that_is_too_new_names_both_versions(tmp_path: Path) -> None:
    check_architecture(write(tmp_path, model_type="llava_next"))
    check_architecture(write(tmp_path, model_type="minicpmv", auto_map={"AutoConfig": "a.B"}))
    with pytest.raises(UserError, match=r"is a 'minicpmv9', which the installed transformers \d.* written by 99\.1"):
        check_architecture(write(tmp_path, model_type="minicpmv9", transformers_version="99.1"))
    with pytest.raises(UserError, match=r"If its model comes with code of its own, download its \*\.py"):
        check_architecture(write(tmp_path, model_type="minicpmv"))
