"""EDDM, the dialogue module: asks a chat model about defects and describes them (EIAD, Sec. III-B).

Public modules: `describe`, `eddm`, `identity`, `naming`.
"""
