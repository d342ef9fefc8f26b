"""Raw MVTec AD and VisA, small: the files hold their own path, so that a copy tells where it comes from."""

from pathlib import Path

import pytest

from data.classes.refined.rules import visa_ac_classes


@pytest.fixture
def raw_mvtec(tmp_path: Path) -> Path:
    root = tmp_path / "raw mvtec"
    for name in (
        "capsule/train/good/000.png",
        "capsule/test/good/000.png",
        "capsule/test/crack/000.png",
        "capsule/test/poke/000.png",
        "capsule/test/poke/001.png",
        "pill/test/combined/000.png",
        "pill/test/color/000.png",
        "toothbrush/train/good/000.png",
        "toothbrush/test/defective/000.png",
    ):
        category, _, defect, file = name.split("/")
        paths = [name] if defect == "good" else [name, f"{category}/ground_truth/{defect}/{file[:-4]}_mask.png"]
        for path in paths:
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_text(path)
    return root


@pytest.fixture
def raw_visa(tmp_path: Path) -> Path:
    """What VisA-AC holds of pcb4, as downloaded, an anomalous image that it leaves out and a training image."""
    root = tmp_path / "raw visa"
    stems = sorted((normal, stem) for category, normal, stem in visa_ac_classes() if category == "pcb4")
    lines, annotations = ["object,split,label,image,mask"], ["image,label,mask"]
    for normal, stem in [*stems, (False, "000"), (True, "0500")]:
        path = f"pcb4/Data/Images/{'Normal' if normal else 'Anomaly'}/{stem}.JPG"
        mask = "" if normal else f"pcb4/Data/Masks/Anomaly/{stem}.png"
        split = "train" if (normal, stem) == (True, "0500") else "test"
        lines.append(f"pcb4,{split},{'normal' if normal else 'anomaly'},{path},{mask}")
        label = "normal" if normal else '"extra,dirt"'
        annotations.append(f"{path},{label},{mask}")
        for name in filter(None, (path, mask)):
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(name)
    (root / "pcb4/image_anno.csv").write_text("\n".join(annotations))
    (root / "split_csv").mkdir()
    (root / "split_csv/1cls.csv").write_text("\n".join(lines))
    return root
