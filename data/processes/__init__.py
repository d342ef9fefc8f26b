"""What processes owe one another: one writer at a place, nothing half-written left lying about, and no orphans.

Public modules: `aside`, `lifeline`, `lock`.
"""
