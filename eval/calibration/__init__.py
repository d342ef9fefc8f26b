"""From scores of sound images to a threshold at a stated rate of false alarms, and what it promises.

Public modules: `calibrate`, `conformal`, `drift`, `file`, `make`, `probability`.
"""
