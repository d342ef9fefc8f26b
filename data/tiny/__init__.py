"""What the tiny bases learn from: generic scenes with marks, captions, short questions and reading exercises.

No product and no dataset: the tiny bases stand for models that were trained on the web.

Public modules: `captions`, `drawn`, `pool`, `reading`, `referring`, `scenes`.
"""
