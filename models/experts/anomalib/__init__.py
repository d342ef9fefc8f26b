"""Models of anomalib, an optional requirement: as experts like the others, and as writers of maps.

Public modules: `expert`, `maps`.
"""
