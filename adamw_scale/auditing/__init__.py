"""What a training really does to its weights, by its config or watched, and what its author may not mean.

configs.py    audit(): text -> document -> config -> run -> findings
runs.py       the run that the config and its user describe, or what to ask for
watched.py    judged_watched(): what was seen of a command -> run -> findings
optimizers.py an optimizer that was seen -> config
judging.py    config and run -> each group's timescale, the advice, the findings
facts.py      what checks look at
checks.py     one function per kind of finding; watched_checks.py of what only a watched training shows
cost.py       what a timescale away from the best one costs
"""

from adamw_scale.auditing.configs import audit
from adamw_scale.auditing.facts import GroupTimescale
from adamw_scale.auditing.judging import Audit
from adamw_scale.auditing.watched import Watched, WatchedGroup, WatchedOptimizer, judged_watched

__all__ = ["Audit", "GroupTimescale", "Watched", "WatchedGroup", "WatchedOptimizer", "audit", "judged_watched"]
