"""recommend(): the only place where a timescale becomes advice.

answers.py     the law, a published rule, or what the user measured -> the run's timescale, and how far to trust it
advice.py      timescale -> weight decay, range, competitors, groups, companions
cautions.py    reasons that hold whatever rule gave the number
laws.py        what learning-rate laws say where the run has no learning rate
rungs.py       ladder(): the same for several runs, with learning rates and batches of those laws
inputs.py      the run itself, where it is said by what differs from a tuned or calibrated one
memory.py      timescale_of(): what the final weights of a run remember
standing.py    where a run stands among public recipes
conversion.py  convert(): one library's weight decay in another's unit
"""

from adamw_scale.advisor.advice import advise, decay_per_step, recommend

__all__ = ["advise", "decay_per_step", "recommend"]
