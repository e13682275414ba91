"""recommend(): the only place where a timescale becomes advice.

answers.py    a rule, published or calibrated -> the run's timescale, and how far to trust it
advice.py     timescale -> weight decay, range, competitors, groups, companions
cautions.py   reasons that hold whatever rule gave the number
"""

from adamw_scale.advisor.advice import recommend

__all__ = ["recommend"]
