"""python -m scripts.ddqa_stats ddqa=DIR [out=DIR].

Prints Table I (ours | the paper's | difference) and writes OUT/ddqa_stats.json and OUT/ddqa_stats.html, one page.
"""

from eval.ddqa.statistics import StatsConfig, build_stats
from scripts.command import command


@command("ddqa_stats", StatsConfig)
def main(config: StatsConfig) -> None:
    """Writes the statistics and prints the table."""
    print(build_stats(config))


if __name__ == "__main__":
    main()
