"""Metrics without a model: pixels, images and classes, exact or from a histogram with certified ends.

Public modules: `classes`, `figures`, `histogram`, `histogram_state`, `image`, `pixels`, `ranking`, `saturation`,
`scores`, `thresholds`.
"""
