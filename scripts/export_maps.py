"""python -m scripts.export_maps expert=winclip|model=WinClip dataset=mvtec_ad data_root=DIR out=DIR.

Writes the anomaly maps of a vision expert, or of a model of anomalib, one .npy an image; then score them:
python -m scripts.eval_segmentation dataset=mvtec_ad data_root=DIR maps=DIR out=DIR
"""

from models.experts.anomalib.maps import ExportConfig, export_maps
from scripts.command import command


@command("export_maps", ExportConfig)
def main(config: ExportConfig) -> None:
    """Exports maps and prints their folder."""
    print(export_maps(config))


if __name__ == "__main__":
    main()
