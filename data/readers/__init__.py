"""One reader a dataset: a function from the root folder to its samples, without decoding a pixel.

Public modules: `annotations`, `defect_names`, `downloads`, `listing`, `mvtec_layout`, `mvtec_loco`, `photos`,
`registry`.
"""
