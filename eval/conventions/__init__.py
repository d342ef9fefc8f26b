"""How others measure: the named conventions that published figures rest on, and the figures that only they need.

Public modules: `figures`, `measure`, `named`.
"""
