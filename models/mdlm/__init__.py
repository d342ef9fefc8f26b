"""MDLM, the Multi-modal Defect Localization Module (EIAD, Sec. III-B): LLaVA, [SEG], DAM and SAM.

Public modules: `embedding_cache`, `files`, `llava`, `model`, `processor`, `sam`, `sam_lora`.
"""
