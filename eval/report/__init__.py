"""Pages that people read: the report of a run, its cases, charts and notes, and the templates of all pages.

Public modules: `cases`, `charts`, `facts`, `page`, `results`, `write`.
"""
