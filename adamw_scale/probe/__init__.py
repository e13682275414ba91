"""Asking for probes: which to train, where, and what came of it. Training them is the room next door, `training`.

    sweep        which timescales of a run are to be probed         engines/    where probes run, one file per engine
    search       the next points of a sweep                         trackers/   where results are also logged
    store        what has been measured
    job_arrays   files by which any machine trains a part           exchange    to and from CSV and Optuna

A new engine or tracker is one file in its folder plus one line in its registry.
"""
