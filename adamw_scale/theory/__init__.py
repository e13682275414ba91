"""Formulas: floats in, floats out, each beside its source. Nothing here knows a run, a file or a framework.

timescale                1 / (lr·λ), what it does to weights, and back
window, coefficients     what the final weights remember: in closed form, and step by step
curves, schedules        learning-rate shapes with their integrals; weight_decay_schedules: λ that moves too
conventions              what a library multiplies its weight decay by; optimizer_classes: which class has which
measured_decay           when what a step took is what its settings say
parametrizations         how lr and λ of each parameter group depend on width and depth
lr_laws, batch_scaling   published laws of the learning rate; what a larger batch asks of lr, betas and eps
basin                    losses of a sweep -> where they are lowest, and how sure that is
"""
