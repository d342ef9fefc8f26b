"""VELM's second step: from an expert's outline to the class of the anomaly, and to a verdict (VELM, Sec. 3.2).

Public modules: `classify`, `draw`, `judge`, `prompt`.
"""
