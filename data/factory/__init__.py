"""Procedural products and defects: the generated dataset, and what it and the generic scenes are drawn with.

Public modules: `canvas`, `catalog`, `clutter`, `defects`, `piece`, `placement`, `sheet`, `synthetic`.
"""
