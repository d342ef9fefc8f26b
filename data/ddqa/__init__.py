"""DDQA: rule-built question-answer pairs from masks and defect names (EIAD, Sec. III-A)."""
