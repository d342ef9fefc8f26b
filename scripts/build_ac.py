"""python -m scripts.build_ac dataset=mvtec_ac source=DIR out=DIR [corrections=FILE] [transfer=hardlink].

Builds MVTec-AC from raw MVTec AD, or VisA-AC from raw VisA (dataset=visa_ac), as a folder in MVTec AD's layout, and
prints its counts beside the release's.
"""

from data.classes.refined.build import ACConfig, build_ac
from scripts.command import command


@command("build_ac", ACConfig)
def main(config: ACConfig) -> None:
    """Builds one of the two."""
    build_ac(config)


if __name__ == "__main__":
    main()
