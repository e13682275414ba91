"""What runs in the processes of a watched command. The folder is put first on their PYTHONPATH.

sitecustomize  is run by Python itself at its start; waits for torch
recorder       hooks torch's optimizers and writes down what they do
owners         which module a weight is of, and what it is there
schedules      the schedule that is still to come

They are loaded by path, since the user's Python need not have this package; it may be as old as 3.8, its torch as 2.0.
"""
