"""Laws by name, one per file: TrainingRun -> target Timescale.

`law` is this project's own, fitted to all evidence (`adamw_scale.law`), and what a run gets that asks for no other.
Weights that were trained before keep the decay they have (`kept`), since no evidence is of them. The rest are published
laws: each has a domain, is shown where it speaks, and is used where it is asked for.

A new rule is one file here plus one line below.
"""

from adamw_scale.law.fitted import STANDINGS
from adamw_scale.registry import Registry
from adamw_scale.rules.rule import Rule
from adamw_scale.spec.run import TrainingRun

RULES: Registry[type[Rule]] = Registry(
    "rule",
    "adamw_scale.rules",
    {
        "law": "adamw_scale.rules.law:Law",
        "power-lines": "adamw_scale.rules.power_lines:PowerLines",
        "steplaw-refit": "adamw_scale.rules.steplaw_refit:StepLawRefit",
        "constant-tau-epoch": "adamw_scale.rules.constant_tau_epoch:ConstantTauEpoch",
        "tau-epoch-data-limited": "adamw_scale.rules.tau_epoch_data_limited:TauEpochDataLimited",
        "run-fraction": "adamw_scale.rules.run_fraction:RunFraction",
        "loshchilov-hutter": "adamw_scale.rules.loshchilov_hutter:LoshchilovHutter",
        "complete-d-p": "adamw_scale.rules.complete_d_p:CompleteDP",
        "adana": "adamw_scale.rules.adana:Adana",
        "kept": "adamw_scale.rules.kept:Kept",
        "retention": "adamw_scale.rules.retention:Retention",
        "fixed": "adamw_scale.rules.fixed:Fixed",
    },
)
COMPETITORS = (  # shown where they speak; of other packages none, as finding those takes longer than everything else
    *("law", "power-lines", "steplaw-refit", "constant-tau-epoch", "tau-epoch-data-limited"),
    *("run-fraction", "loshchilov-hutter", "adana", "fixed"),
)
BASELINE = "fixed"  # shown beside every answer: what the copied value would do to this run


def default_rule(run: TrainingRun) -> str:
    """The rule of a run that asks for no other."""
    return "law" if run.task == "pretraining" else "kept"


def on_the_evidence(name: str) -> str:
    """How far a rule is from the optima inside its domain; the law, from those of sources that it was not fitted to."""
    if name not in STANDINGS:
        return "not held against any optimum"
    optima, octaves = STANDINGS[name]
    return f"{octaves:.1f} octaves off on {optima}"


__all__ = ["BASELINE", "COMPETITORS", "RULES", "Rule", "default_rule", "on_the_evidence"]
