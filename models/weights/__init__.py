"""The pre-trained checkpoints that the presets start from: what they are, where they lie, whether they are whole."""
