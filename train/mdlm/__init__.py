"""Trains the MDLM (EIAD, Sec. III-C and IV-B): LoRA, [SEG], DAM and SAM's mask decoder on mask losses.

Public modules: `loop`, `losses`, `pictures`, `train`.
"""
