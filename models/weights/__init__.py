"""The pre-trained checkpoints: what they are, where they lie, whether they are whole.

Public modules: `checkpoint`, `diagnosis`, `hub`, `published`, `shapes`, `shards`, `shipped`, `table`,
`tensors`, `trust`, `versions`, `wanted`.
"""
