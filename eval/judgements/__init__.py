"""What people say of the verdicts on their photos: a log that is only added to, and what can be trained from it.

Public modules: `export`, `judgement`, `log`, `truth`.
"""
