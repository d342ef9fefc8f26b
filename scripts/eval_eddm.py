"""python -m scripts.eval_eddm run=runs/demo [part=zero_shot] [use_adapter=false].

Examines EDDM on RUN/ddqa/<part>.jsonl; writes RUN/eval/eddm.json (percent).
"""

from eval.ddqa.exam import ExamConfig, run_exam
from scripts.command import command


@command("eval_eddm", ExamConfig)
def main(config: ExamConfig) -> None:
    """Examines the dialogue module."""
    run_exam(config)


if __name__ == "__main__":
    main()
