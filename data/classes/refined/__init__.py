"""MVTec-AC and VisA-AC from raw MVTec AD and VisA (VELM, Sec. 3.3).

Public modules: `build`.
"""
