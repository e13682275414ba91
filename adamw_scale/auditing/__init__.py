"""What a training config really does to its weights, and what its author may not mean.

configs.py    audit(): text -> document -> config -> run -> findings
runs.py       the run that the config and its user describe, or what to ask for
judging.py    config and run -> each group's timescale, the advice, the findings
facts.py      what checks look at
checks.py     one function per kind of finding
cost.py       what a timescale away from the best one costs
"""

from adamw_scale.auditing.configs import audit
from adamw_scale.auditing.facts import GroupTimescale
from adamw_scale.auditing.judging import Audit

__all__ = ["Audit", "GroupTimescale", "audit"]
