"""The real architectures at a few million parameters, for ordinary computers.

Public modules: `batched_vision`, `llava_sam`, `minicpmv`.
"""
