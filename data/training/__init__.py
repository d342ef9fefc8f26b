"""From samples to what a training step takes: grounding items, their texts, and which item comes at which step.

Public modules: `batches`, `descriptions`, `grounding`, `replay`, `weighted`.
"""
