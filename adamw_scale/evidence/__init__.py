"""What others did: settings in which weight decay was tuned, and recipes in which it mostly was not.

`tuned_optima()` is what rules and ranges are held against; `recipes()` is practice, to compare with.
Each reads the table of its name, which has one row per setting with its source. Timescales are not
stored; they follow from the other columns.
"""

from adamw_scale.evidence.recipe import Neighbour, Recipe, nearest, recipes
from adamw_scale.evidence.tuned_optimum import TunedOptimum, tuned_optima

__all__ = ["Neighbour", "Recipe", "TunedOptimum", "nearest", "recipes", "tuned_optima"]
