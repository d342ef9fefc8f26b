"""Zero-shot segmentation (EIAD, Tables IV–VII): anomaly maps from a run, files or an expert, and their metrics.

Public modules: `config`, `decoys`, `evaluate`, `expert`, `map_store`, `prompts`, `seeds`.
"""
