"""python -m scripts.run_all run_dir=runs/demo [data=real] [seed=1] [base=train] [dry_run=true].

Runs every stage of EIAD, two at a time, and ends with the table and the path of the report. Run it again after an
interruption: finished stages are kept, unless their settings, data or files have changed since. With dry_run=true it
lists the stages and what each needs, and exits with 1 if something is missing. preset=tiny starts from the bases that
ship with the code; base=train makes them first.
"""

import sys
from pathlib import Path

from data.processes.lock import held
from data.run import Run
from scripts.command import command
from scripts.pipeline.plan import RunAllConfig, plan_stages, with_settings
from scripts.pipeline.stages import Pipeline


@command("run_all", RunAllConfig)
def main(config: RunAllConfig) -> None:
    """Runs what is left of the pipeline."""
    if config.dry_run:
        from scripts.pipeline.dry_run import report_needs  # slow to import

        sys.exit(not report_needs(plan_stages(config), config.data, Path(config.run_dir), config.preset))
    run = Run(Path(config.run_dir))
    with held(run.path):
        Pipeline(with_settings(config), run.path, jobs=config.jobs).run()
    print(run.report.with_suffix(".md").read_text(encoding="utf-8").split("\n## ")[0], file=sys.stderr)
    print(f"Report: {run.report}")


if __name__ == "__main__":
    main()
