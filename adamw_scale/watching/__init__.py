"""Watching a command of the user: its trainings are looked at while they run, and nothing of theirs is changed.

command   runs it with the hook in its Python processes, ends it after some steps, and reads what was written
hook/     what runs in these processes, on their own torch and the standard library alone

torch is imported in the hook, by the user's Python.
"""
