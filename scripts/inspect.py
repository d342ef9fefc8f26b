"""python -m scripts.inspect images=FILE|FOLDER|PATTERN run=RUN|tiny|export=DIR|expert=NAME out=DIR [expert_dir=DIR].

run=tiny is the EIAD that ships with the code. Writes results.csv, results.jsonl, report.html, masks/ and overlays/ to
DIR. With classes=FILE a language model names each region, with policy=FILE each has an action. Of a single photo stdout
is its row as one line of JSON and nothing else, of several a summary. Exit code 1: some photo could not be read; its
row says why.
"""

import json
import sys

from data.ranks import join_ranks
from eval.inspection.config import InspectConfig
from eval.inspection.run import as_json, describe, run_inspection
from scripts.command import command
from scripts.terminal.quiet import stdout_to_stderr


@command("inspect", InspectConfig)
def main(config: InspectConfig) -> None:
    """Inspects photos."""
    with stdout_to_stderr():
        inspection = run_inspection(config)
    if join_ranks().is_main:
        single = len(inspection.rows) == 1
        print(json.dumps(as_json(inspection), ensure_ascii=False) if single else describe(inspection))
    if inspection.unreadable:
        sys.exit(1)


if __name__ == "__main__":
    main()
