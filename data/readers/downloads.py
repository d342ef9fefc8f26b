"""Where each dataset comes from: what a message says where one is missing."""

from __future__ import annotations

from pathlib import Path

HOW = {
    "bsdata": "git clone https://github.com/2Obe/BSData {root}",
    "dagm2007": "download DAGM 2007 from https://hci.iwr.uni-heidelberg.de/content/weakly-supervised-learning-industrial-"
    "optical-inspection and unpack it into {root}",
    "eyecandies": "download Eyecandies from https://eyecan-ai.github.io/eyecandies and unpack it into {root}",
    "goods_ad": "download GoodsAD from https://github.com/jianzhang96/GoodsAD and unpack it into {root}",
    "magnetic_tile": "git clone https://github.com/abin24/Magnetic-tile-defect-datasets. {root}",
    "mmad": "hf download jiang-cc/MMAD --repo-type dataset --local-dir {root}, then unpack its archives there",
    "mvtec_3d": "download MVTec 3D-AD from https://www.mvtec.com/company/research/datasets/mvtec-3d-ad and unpack it "
    "into {root}",
    "mvtec_ac": "get MVTec AD, then python -m scripts.build_ac dataset=mvtec_ac source=DATA/mvtec_ad out={root}",
    "mvtec_ad": "download MVTec AD from https://www.mvtec.com/company/research/datasets/mvtec-ad and unpack it "
    "into {root}",
    "mvtec_loco": "download MVTec LOCO AD from https://www.mvtec.com/company/research/datasets/mvtec-loco and unpack "
    "it into {root}",
    "pd_real": "download PD-REAL from https://github.com/Andy-cs008/PD-REAL into {root}",
    "real_iad": "ask for Real-IAD at https://realiad4ad.github.io/Real-IAD/ and unpack it into {root}",
    "rsdd": "download RSDDs from http://icn.bjtu.edu.cn/Visint/resources/RSDDs.aspx and unpack it into {root}",
    "velm": "git clone https://github.com/Sassanmtr/VELM and put its *_preds_gpt_4o.json and *_des.json into {root}",
    "visa": "curl -L https://amazon-visual-anomaly.s3.us-west-2.amazonaws.com/VisA_20220922.tar | tar -x -C {root}",
    "visa_ac": "get VisA, then python -m scripts.build_ac dataset=visa_ac source=DATA/visa out={root}",
    "vision": "hf download VISION-Workshop/VISION-Datasets --repo-type dataset --local-dir {root}",
}
SAME = {"ds_mvtec": "mmad"}  # part of another download


def how_to_get(dataset: str, root: Path | str) -> str:
    """How to get a dataset: `Get it: …`, without a full stop; of a user's own photos, what to check.

    Args:
        dataset: Name of its reader, or `mmad` or `velm`.
        root: Where it is to be.
    """
    if Path(root).parts[-2:] in (("data", "seen"), ("data", "unseen")):  # of a run: the generated products
        return f"Make it: python -m scripts.make_synthetic run_dir={Path(root).parents[1]}"
    how = HOW.get(SAME.get(dataset, dataset))
    return f"Get it: {how.format(root=root)}" if how else "Check the path"
