"""python -m scripts.build_ddqa run_dir=runs/demo [part=zero_shot] [data=real].

Writes RUN/ddqa/<part>.jsonl (ms-swift rows) and RUN/ddqa/counts.json.
"""

from data.ddqa.build import DDQAConfig, build_ddqa
from scripts.command import command


@command("build_ddqa", DDQAConfig)
def main(config: DDQAConfig) -> None:
    """Builds one part of DDQA."""
    build_ddqa(config)


if __name__ == "__main__":
    main()
