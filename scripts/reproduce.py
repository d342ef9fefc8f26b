"""python -m scripts.reproduce table=eiad.4|velm.2|all data_root=DIR [run=RUN_DIR] [+maps.winclip=DIR].

Prints a table of the papers beside what was measured here (ours | paper | difference), says for every row that could
not run what is missing and how to get it, and writes OUT/<table>.json and OUT/<table>.html. More rows come from
`+answers.gpt_4o=FILE` (MMAD) and `+classified.oracle_gpt_4o=DIR` (VELM).
"""

from eval.tables.config import ReproduceConfig
from eval.tables.reproduce import reproduce
from scripts.command import command


@command("reproduce", ReproduceConfig, aliases={"wording": "mmad_wording"})
def main(config: ReproduceConfig) -> None:
    """Makes one table, or all."""
    print(reproduce(config))


if __name__ == "__main__":
    main()
