"""python -m scripts.export_judgements log=DIR form=mvtec|coco|ddqa out=DIR [product=NAME].

Writes what people said of the verdicts on their photos as something to train on: a dataset in MVTec AD's layout, COCO,
or DDQA's questions for `scripts.train_eddm questions=`. What is left out is counted and listed in OUT/judgements.json.
"""

from eval.judgements.export import ExportConfig, export_judgements
from scripts.command import command


@command("export_judgements", ExportConfig)
def main(config: ExportConfig) -> None:
    """Exports a log of judgements."""
    print(export_judgements(config).describe())


if __name__ == "__main__":
    main()
