"""How the tiny bases are made: small models trained in full on generic scenes, as large ones are on the web.

Public modules: `config`, `eddm`, `mdlm`, `train`.
"""
