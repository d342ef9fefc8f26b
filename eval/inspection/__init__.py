"""From a folder of photos to decisions: what looks, what is decided, and the files and the page that say so.

Public modules: `annotations`, `config`, `decision`, `familiar`, `inspector`, `photos`, `regions`, `rows`, `run`,
`sources`.
"""
