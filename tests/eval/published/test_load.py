from eval.published.load import PublishedRow, contradictions, load_published


def test_every_table_is_whole() -> None:
    tables = load_published()
    assert set(tables) >= {f"eiad.{number}" for number in range(2, 8)}
    for table in tables.values():
        for row in table.rows.values():
            assert set(row.values) == set(table.columns)
            assert all(value is None or 0 <= value <= 100 for value in row.values.values())


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
