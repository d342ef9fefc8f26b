"""Measurements: ratios between two ways of doing one thing, both in one run. No part of the tests.

Public modules: none; each is a command.
"""
