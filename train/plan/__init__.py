"""What a training needs before it starts: memory and time on each GPU, and the checkpoints that it begins from.

Public modules: `config`, `footprint`, `measure`, `meter`, `options`, `plan`, `room`, `weights`.
"""
