"""Procedural products and defects: what the generated factory and the generic scenes are drawn with."""
