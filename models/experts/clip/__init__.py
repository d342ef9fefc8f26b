"""Zero-shot experts on CLIP: WinCLIP, AnoCLIP and CLIP Surgery, one file each over one CLIP and one set of words.

Public modules: `anoclip`, `backbone`, `checkpoint`, `clip_surgery`, `make`, `winclip`.
"""
