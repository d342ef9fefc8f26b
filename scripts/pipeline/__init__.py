"""`scripts.run_all`: the stages of a run, and the processes that carry them out.

Public modules: `dry_run`, `plan`, `stages`.
"""
