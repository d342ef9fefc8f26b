"""Chat models: one protocol for a model in this process, ms-swift's engine and a server, and the reading of replies.

Public modules: `answers`, `api`, `config`, `conversation`, `letters`, `load`, `local`, `memory`,
`minicpmv26`, `own`, `protocol`, `reuse`, `swift`, `vlm`.
"""
