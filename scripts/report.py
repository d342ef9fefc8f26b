"""python -m scripts.report run=runs/demo [title="…"].

Writes RUN/report.html (self-contained), report.json, report.md and results.json from what the run holds so far.
"""

from eval.report.write import ReportConfig, build_report
from scripts.command import command


@command("report", ReportConfig)
def main(config: ReportConfig) -> None:
    """Builds the report and prints its path."""
    print(build_report(config))


if __name__ == "__main__":
    main()
