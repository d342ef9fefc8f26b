"""python -m scripts.build_ddqa sources=[bsdata] data_root=DIR out=DIR [paths.bsdata=DIR], or run_dir=RUN [data=real].

With sources= it writes OUT/train.jsonl, OUT/Task_<task>.jsonl and OUT/stats.json; with run_dir= the questions of a
run: RUN/ddqa/<part>.jsonl (part=train|zero_shot) and RUN/ddqa/counts.json. Rows are ms-swift's.
"""

from data.ddqa.build import build_ddqa
from data.ddqa.config import DDQAConfig
from scripts.command import command


@command("build_ddqa", DDQAConfig)
def main(config: DDQAConfig) -> None:
    """Builds DDQA."""
    build_ddqa(config)


if __name__ == "__main__":
    main()
