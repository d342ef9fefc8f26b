from pathlib import Path

from models.weights.table import checkpoints, compose_table, find_checkpoint, read_key

ROOT = Path(__file__).resolve().parents[3]


def test_every_entry_says_where_it_comes_from() -> None:
    for entry in checkpoints().values():
        assert bool(entry.hub) != bool(entry.url)
        assert entry.sha256 is None or len(entry.sha256) == 64
        assert bool(entry.config) == bool(entry.hub)
        assert all(read_key(entry.config, key) is not None for key in entry.check)


def test_a_place_is_recognised_by_id_file_or_folder() -> None:
    assert find_checkpoint("openbmb/MiniCPM-V-2_6") is checkpoints()["minicpm-v-2.6"]
    assert find_checkpoint("/weights/MiniCPM-V-2_6") is checkpoints()["minicpm-v-2.6"]
    assert find_checkpoint("checkpoints/sam_vit_h_4b8939.pth") is checkpoints()["sam-vit-h"]
    assert find_checkpoint("runs/x/mdlm/base/llava") is None


def test_the_table_in_the_readme() -> None:
    assert compose_table() in (ROOT / "models" / "README.md").read_text(encoding="utf-8")
