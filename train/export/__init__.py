"""Exports of a run: adapters of a known base or merged models, proven in a fresh process before they get their name.

Public modules: `card`, `config`, `export`.
"""
