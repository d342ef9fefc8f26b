"""Fits the vision experts on normal images, and sets their gates on images that the fit has not seen.

Public modules: `ddad`, `fit`, `shots`.
"""
