"""The papers' evaluations: segmentation, MMAD, DDQA's exam, classification, and their tables.

Public modules: none; the rooms below have their own.
"""
