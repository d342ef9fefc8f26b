from data.readers.mvtec_ac import read_mvtec_ac


def test_reads_a_release_without_training_images(write_tree) -> None:
    samples = read_mvtec_ac(write_tree("mvtec_ac"))
    assert [(s.id, s.split, s.defect) for s in samples] == [
        ("mvtec_ac/screw/test/good/000.png", "test", None),
        ("mvtec_ac/screw/test/scratch_thread/000.png", "test", "scratch thread"),
    ]
