"""What a command and its user tell each other in a terminal, before anything heavy is imported.

Public modules: `mistakes`, `page`, `plugins`, `quiet`, `source`.
"""
