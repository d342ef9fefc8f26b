import json
import re
from pathlib import Path

import numpy as np
import pytest

from data.ddqa.build import build_ddqa
from data.ddqa.config import DDQAConfig, Layout, OnError
from data.ddqa.summary import summarise
from data.errors import UserError
from data.files import read_json, read_jsonl
from eval.ddqa.cards import CardsConfig, draw_card, draw_rows
from eval.ddqa.statistics import StatsConfig, build_stats


@pytest.fixture
def built(write_mvtec, tmp_path: Path) -> Path:
    root = write_mvtec(normals=3, defects=9)
    (root / "washer/ground_truth/scratch/004_mask.png").write_bytes(b"broken")
    out = tmp_path / "ddqa"
    paths = {"mvtec_ad": str(root)}
    build_ddqa(
        DDQAConfig(
            preset="", sources=["mvtec_ad"], paths=paths, out=str(out), on_error=OnError.skip, holdout=0.2, workers=1
        )
    )
    return out


def test_summary_counts_both_sides(built: Path) -> None:
    summary = summarise(built / "samples.jsonl")["mvtec_ad"]
    assert (summary.images, summary.normal, summary.held_out, summary.objects) == (14, 6, 2, 14), (
        "one of the three that are held out is broken"
    )
    assert summary.classes == {"scratch": 8}
    assert summary.regions == {1: 8}
    assert summary.as_json()["defect_share"]["median"] == pytest.approx(64 / (48 * 64))


def test_page_table_and_json(built: Path, tmp_path: Path) -> None:
    text = build_stats(StatsConfig(ddqa=str(built), out=str(tmp_path / "stats")))
    assert re.search(r"^mvtec_ad +14 \| – \| – +8 \| – \| –", text, re.M)
    facts = read_json(tmp_path / "stats/ddqa_stats.json")
    assert facts["table"]["lines"]["mvtec_ad"]["cells"]["AD"] == {"ours": 14, "paper": None, "difference": None}
    assert facts["sources"]["mvtec_ad"]["anomalous"] == 8
    assert [entry["item"] for entry in facts["skipped"]] == ["mvtec_ad/washer/test/scratch/004.png"]
    page = (tmp_path / "stats/ddqa_stats.html").read_text()
    assert "004_mask.png does not decode" in page
    assert page.count('class="card"') == 8
    assert not re.search(r'(src|href)="(?!data:)', page), "the page must stand on its own"
    for row in read_jsonl(built / "Task_DC.jsonl"):
        assert row["defect"] == "scratch"
    assert '<li class="right">' in page


def test_draws_depend_on_the_seed_and_not_on_the_order(built: Path) -> None:
    layout = Layout(built, "train", published=True)
    first = draw_rows(layout, CardsConfig(each=3))["mvtec_ad"]["RDL"]
    path = layout.folder / "Task_RDL.jsonl"
    path.write_text("\n".join(reversed(path.read_text().splitlines())) + "\n")
    assert draw_rows(layout, CardsConfig(each=3))["mvtec_ad"]["RDL"] == first
    others = [draw_rows(layout, CardsConfig(each=3, seed=seed))["mvtec_ad"]["RDL"] for seed in range(1, 5)]
    assert any(other != first for other in others)
    assert draw_rows(layout, CardsConfig(each=0)) == {"mvtec_ad": {task: [] for task in ("AD", "RDL", "DFM", "DC")}}


def test_a_card_shows_grid_and_box() -> None:
    image = np.zeros((90, 180, 3), np.uint8)
    picture = draw_card(image, [[20, 10, 40, 30]], CardsConfig(side=90))
    assert picture.shape == (45, 90, 3)
    assert picture[40, 30].min() > 100, "the grid's first vertical line"
    assert picture[15, 80].min() > 100, "the grid's first horizontal line"
    blue = (picture[..., 2].astype(int) - picture[..., 0]) > 100
    rows, columns = blue.nonzero()
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (4, 15, 9, 20)


def test_a_folder_without_a_build_or_with_a_torn_file_is_explained(built: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"Missing file: .*stats\.json"):
        build_stats(StatsConfig(ddqa=str(tmp_path)))
    content = (built / "samples.jsonl").read_text()
    (built / "samples.jsonl").write_text(content[:-30])
    with pytest.raises(UserError, match=r"samples\.jsonl, line 14"):
        build_stats(StatsConfig(ddqa=str(built)))
    (built / "samples.jsonl").write_text(json.dumps(json.loads(content.splitlines()[0]) | {"dataset": "x"}) + "\n")
    with pytest.raises(UserError, match="holds 'x'"):
        build_stats(StatsConfig(ddqa=str(built)))
