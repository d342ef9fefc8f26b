"""The papers' tables: the published figures as printed, and ours beside them.

Public modules: `comparison`, `config`, `counts`, `published`, `reproduce`, `velm`.
"""
