"""The assistant: a page on which people look at photos with a model, move its threshold, and say what they think.

Public modules: `assistant`, `config`, `serve`.
"""
