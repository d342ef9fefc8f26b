"""Vision experts: who looks first, decides whether an image is normal, and says where it is not (VELM, Sec. 3.1).

Public modules: `backbone`, `coreset`, `ddad`, `denoiser`, `expert`, `frame`, `gate`, `load`,
`map_file`, `mdlm`, `oracle`, `own`, `patchcore`, `precomputed`, `store`.
"""
