"""What EDDM's words claim about an image, against the annotation and against the MDLM's map.

Public modules: `agreement`, `claim`, `look`.
"""
