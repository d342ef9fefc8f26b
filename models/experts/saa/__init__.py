"""SAA+: boxes that a text finds, masks of them, scored by how unlike the rest of the image they are (Cao et al., 2023).

Public modules: `detector`, `expert`, `properties`, `regions`, `saliency`, `segmenter`.
"""
