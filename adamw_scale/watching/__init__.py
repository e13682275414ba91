"""Watching a command of the user: its trainings are looked at while they run, and nothing of theirs is changed.

command   runs it with the hook (`hook/`) in its Python processes, ends it after some steps, and reads what was written
"""
