"""Published laws, one per file: TrainingRun -> target Timescale.

How to choose: `regimes.py` holds the whole decision. In words: single passes over plentiful text
have a law that was fitted with decay tuned (`power-lines`); many epochs over images follow practice
(`run-fraction`); many epochs over scarce text want a short timescale, known from one laboratory
(`tau-epoch-data-limited`, then calibrate); finetuning wants its start point kept (`retention`).

A new rule is one file here plus one line below.
"""

from adamw_scale.registry import Registry
from adamw_scale.rules.regimes import regime
from adamw_scale.rules.rule import CalibratableRule, Rule

RULES: Registry[type[Rule]] = Registry(
    "rule",
    "adamw_scale.rules",
    {
        "power-lines": "adamw_scale.rules.power_lines:PowerLines",
        "steplaw-refit": "adamw_scale.rules.steplaw_refit:StepLawRefit",
        "constant-tau-epoch": "adamw_scale.rules.constant_tau_epoch:ConstantTauEpoch",
        "tau-epoch-data-limited": "adamw_scale.rules.tau_epoch_data_limited:TauEpochDataLimited",
        "run-fraction": "adamw_scale.rules.run_fraction:RunFraction",
        "loshchilov-hutter": "adamw_scale.rules.loshchilov_hutter:LoshchilovHutter",
        "complete-d-p": "adamw_scale.rules.complete_d_p:CompleteDP",
        "adana": "adamw_scale.rules.adana:Adana",
        "retention": "adamw_scale.rules.retention:Retention",
        "fixed": "adamw_scale.rules.fixed:Fixed",
    },
)

__all__ = ["RULES", "CalibratableRule", "Rule", "regime"]
