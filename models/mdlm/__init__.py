"""MDLM, the Multi-modal Defect Localization Module (EIAD, Sec. III-B): LLaVA, [SEG], DAM and SAM.

Public modules: `files`, `llava`, `model`, `preprocess`, `processor`, `sam`, `sam_lora`.
"""
