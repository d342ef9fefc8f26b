"""The models: EDDM, MDLM and the system of both, VELM's experts and its pipeline, and how their weights are read.

Public modules: `contour`, `device`, `eiad`, `exported`, `predictor`, `quantize`, `talk`.
"""
