"""What a training leaves for `models/tiny/checkpoints`: the tiny bases and a tiny EIAD, each with its card.

Public modules: `config`, `ship`.
"""
