"""What a product looks like, which classes of anomaly it has, and what to do about each (VELM, Sec. 3).

Texts that users edit: one YAML a dataset, and `template.yaml` for a product of their own.

Public modules: `policy`, `texts`.
"""
