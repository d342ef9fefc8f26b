"""Whether a difference between two evaluations is more than chance: counts per image, and paired resamples of them.

Public modules: `bootstrap`, `evaluations`, `gain`, `tally`, `tally_file`.
"""
