"""python -m scripts.export_adapter run=RUN_DIR out=DIR merge=true|false [part=eddm|mdlm] [dtype=bfloat16].

Writes DIR/{eddm,mdlm}/, DIR/README.md (model card) and DIR/proof.json. Before DIR gets its name, a fresh process loads
the export, and its logits are compared with those of the run's own models; stdout shows the largest differences.
push_to_hub=OWNER/NAME uploads it, to a private repository unless private=false.
"""

from scripts.command import command
from train.export.config import ExportConfig
from train.export.export import export_adapter


@command("export_adapter", ExportConfig)
def main(config: ExportConfig) -> None:
    """Exports a run."""
    for line in export_adapter(config):
        print(line)


if __name__ == "__main__":
    main()
