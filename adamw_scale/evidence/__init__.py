"""What others did: settings in which weight decay was tuned, and recipes in which it mostly was not.

`tuned_optima()` are published, `measured_optima()` this project's own: what the law is fitted to and rules are held
against. `swept_losses()` are runs of a sweep, for what a miss costs. `recipes()` is practice, to compare with.
Each reads the table of its name, which has one row per setting with its source. Timescales are not
stored; they follow from the other columns.
"""

from adamw_scale.evidence.measured_optimum import MeasuredOptimum, measured_optima
from adamw_scale.evidence.recipe import Neighbour, Recipe, nearest, recipes
from adamw_scale.evidence.swept_loss import SweptLoss, swept_losses
from adamw_scale.evidence.tuned_optimum import TunedOptimum, tuned_optima

__all__ = [
    "MeasuredOptimum",
    "Neighbour",
    "Recipe",
    "SweptLoss",
    "TunedOptimum",
    "measured_optima",
    "nearest",
    "recipes",
    "swept_losses",
    "tuned_optima",
]
