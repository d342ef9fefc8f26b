from eval.tables.comparison import compare, format_comparison
from eval.tables.published import PublishedRow, contradictions, load_published

KEYS = [f"velm.{number}" for number in range(1, 6)]


def test_every_table_is_whole() -> None:
    tables = load_published()
    assert set(tables) == {f"eiad.{number}" for number in range(1, 8)} | set(KEYS)
    for table in tables.values():
        for row in table.rows.values():
            assert set(row.values) == set(table.columns)
            assert all(value is None or 0 <= value <= (100 if table.digits else 10**6) for value in row.values.values())


def test_what_a_table_contradicts_is_said() -> None:
    table = load_published()["eiad.3"]
    assert "The printed average of SPHINX is 60.0; its own figures give 60.8." in table.notes
    assert sum("printed average" in note for note in table.notes) == 1
    fine = PublishedRow("x", "", 0, {"a": 1.0, "b": 2.0, "average": 1.5})
    assert contradictions({"x": fine}) == []


def test_tables_agree_where_they_repeat_each_other() -> None:
    tables = load_published()
    full = tables["eiad.7"].rows["with_eddm"].values
    for dataset, key in (("mvtec_ad", "eiad.4"), ("visa", "eiad.5")):
        row = tables[key].rows["eiad"].values
        assert [row[name] for name in ("pixel_auroc", "pixel_f1_max")] == [
            full[f"{dataset}_{name}"] for name in ("pixel_auroc", "pixel_f1_max")
        ]
    minicpm = tables["eiad.3"].rows["minicpm_v_2_6"].values
    mmad = tables["eiad.2"].rows["mmad"].values
    names = ("anomaly_discrimination", "defect_classification", "defect_localization")
    assert [minicpm[name] for name in names] == [mmad[task] for task in ("AD", "DC", "RDL")]


def test_a_group_has_a_row_a_category_and_its_mean_speaks_for_it() -> None:
    table = load_published()["velm.2"]
    assert len(table.rows) == 4 * 15
    assert table.rows["ddad_gpt_4o.metal_nut"].title == "DDAD + GPT-4o, metal nut"
    assert [name for name, row in table.rows.items() if not row.is_part] == [
        f"{name}.mean" for name in ("oracle_gpt_4o", "ddad_gpt_4o", "patchcore_gpt_4o", "ddad_gpt_4o_mini")
    ]


def test_a_mean_that_is_not_that_of_its_rows_is_said() -> None:
    said = {key: [note for note in load_published()[key].notes if "own figures" in note] for key in KEYS}
    assert "The printed PatchCore + GPT-4o, mean, accuracy is 78.1; its own figures give 77.9." in said["velm.2"]
    assert "The printed DDAD + GPT-4o, mean, kappa is 79.7; its own figures give 81.4." in said["velm.2"]
    assert not said["velm.4"]


def test_misprints_are_said() -> None:
    assert (
        "Misprint: DDAD + GPT-4o, bottle, Kappa: printed 86.7; the published predictions give 82.20."
        in load_published()["velm.2"].notes
    )


def test_later_methods_stand_beside_a_table_with_their_source() -> None:
    table = load_published()["eiad.4"]
    row = table.anchors["anomalyvfm"]
    assert row.values == {"pixel_auroc": 91.9, "pixel_f1_max": 49.2, "pixel_ap": None}
    assert "AnomalyVFM" not in " ".join(one.title for one in table.rows.values())
    text = format_comparison(compare(table, {}))
    assert "– | 91.9 | –" in text and "its authors' own figures" in text
