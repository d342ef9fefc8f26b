"""EDDM, the dialogue module: asks a chat model about defects and describes them (EIAD, Sec. III-B).

Public modules: `describe`, `dialogue`, `eddm`, `identity`, `naming`.
"""
