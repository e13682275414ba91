"""Training probes: short runs that differ in weight decay, learning rate and seed.

    tasks/       what a probe trains, one file per kind of task     trainer      K probes at once
    models/      networks, with a leading probe axis                optimizer    AdamW on flat buffers
    data/        what is trained on, one file per kind of source    checkpoint   what an interrupted cohort goes on from
    commands/    the user's own command: template, process, output
    options      what is given as NAME=VALUE                        machine      the cores and GPUs of this one

torch is imported here, in `integrations` and in `hook` alone. A new task is one file in `tasks/` and a
line in its registry.
"""
