"""What a training config really does to its weights, and what its author may not mean.

`audit` builds the facts of a config, `checks` holds one function per kind of finding.
"""

from adamw_scale.audit.audit import Audit, audit, described_run, run_fields, without_the_unread
from adamw_scale.audit.facts import GroupTimescale

__all__ = ["Audit", "GroupTimescale", "audit", "described_run", "run_fields", "without_the_unread"]
