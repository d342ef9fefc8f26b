"""The real architectures at a few million parameters, for ordinary computers, and what makes them quick on a CPU.

Public modules: `batched_vision`, `llava_sam`, `minicpmv`.
"""
