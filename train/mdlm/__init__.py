"""Trains the MDLM (EIAD, Sec. III-C and IV-B): LoRA, [SEG], DAM and SAM's mask decoder on mask losses.

Public modules: `config`, `loop`, `losses`, `mix`, `pictures`, `train`.
"""
