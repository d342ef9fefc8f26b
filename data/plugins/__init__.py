"""Code of the user's own that a command line names, as `package.module:name`: a reader, an expert, a chat back end.

Public modules: `classes`, `load`, `trust`.
"""
