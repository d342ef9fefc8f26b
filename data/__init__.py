"""What is trained and tested on: samples and their masks, the readers of each dataset, DDQA, and the files of a run.

Nothing here needs a neural network.

Public modules: `contact_sheet`, `content`, `errors`, `faults`, `files`, `image_size`, `masks`, `mmad`, `parallel`,
`ranks`, `row_log`, `run`, `sample`, `source`, `splits`.
"""
