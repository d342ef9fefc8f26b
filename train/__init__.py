"""Training: the MDLM, EDDM, the vision experts and the tiny bases; exports and plans of what is trained.

Public modules: none; the rooms below have their own.
"""
