"""The doctor: which dataset lies at a path, whether it is whole, and what to do about each fault.

Public modules: `examine`, `problems`, `recognise`, `report`.
"""
