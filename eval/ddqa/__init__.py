"""DDQA's exam on categories that EDDM has not seen (EIAD, Table II), and the statistics of a built DDQA (Table I).

Public modules: `exam`, `statistics`.
"""
