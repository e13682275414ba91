"""What runs in the Python processes of a command that is watched or probed. The folder is first on their PYTHONPATH.

folder         what such a command gets, and what its processes wrote; this alone runs in our own process
sitecustomize  is run by Python itself at its start; waits for torch
recorder       hooks torch's optimizers, and writes down what goes on in its process
optimizers     what each optimizer does
owners         which module a weight is of, and what it is there
schedules      the schedule that is still to come
setting        the weight decay and the seeds of a probe, in a training without flags for them

All but `folder` are loaded by path, since the user's Python need not have this package; it may be as old as 3.8, its
torch as 2.0.
"""
