"""Trains EDDM: LoRA on DDQA through ms-swift, as the paper does (Sec. IV-B).

Public modules: `config`, `train`.
"""
