"""The real architectures at a few million parameters, for ordinary computers.

Public modules: `llava_sam`, `minicpmv`.
"""
