"""What processes owe one another: one writer at a place.

Public modules: `lock`.
"""
