"""Anomaly classification (VELM, Sec. 4): the pipeline over a dataset, and the scores of its replies.

Public modules: `config`, `evaluate`, `names`, `scores`, `severity`, `velm`.
"""
