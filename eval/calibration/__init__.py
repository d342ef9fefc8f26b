"""From scores of sound images to a threshold at a stated rate of false alarms, and what it promises.

Public modules: `conformal`, `drift`, `file`, `make`, `probability`.
"""
