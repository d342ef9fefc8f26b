"""DDQA: rule-built question-answer pairs from masks and defect names (EIAD, Sec. III-A).

Public modules: `build`, `compose`, `config`, `regions`, `rows`, `summary`, `tasks`,
`vocabulary`, `wording`.
"""
