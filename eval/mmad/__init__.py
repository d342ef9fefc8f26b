"""MMAD (EIAD, Table III): multiple-choice questions about inspection images, asked and scored.

Public modules: `answers`, `evaluate`, `prompt`.
"""
