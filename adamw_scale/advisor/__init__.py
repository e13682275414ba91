"""recommend(): the only place where a timescale becomes advice.

answers.py    a rule, published or calibrated -> the run's timescale, and how far to trust it
laws.py       what learning-rate laws say where the run has no learning rate
advice.py     timescale -> weight decay, range, competitors, groups, companions
cautions.py   reasons that hold whatever rule gave the number
"""

from adamw_scale.advisor.advice import decay_per_step, recommend

__all__ = ["decay_per_step", "recommend"]
