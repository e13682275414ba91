"""Which weight decay to use with AdamW, and how sure that is.

The Python door:

    >>> import adamw_scale
    >>> run = adamw_scale.TrainingRun(dataset_size="26B", batch_size="0.5M", peak_lr=3e-4, num_params="1.3B")
    >>> round(adamw_scale.recommend(run).weight_decay, 2)
    0.42

Names load on first use, so importing the package costs nothing.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from adamw_scale.advisor.advice import recommend as recommend
    from adamw_scale.advisor.conversion import convert as convert
    from adamw_scale.advisor.memory import timescale_of as timescale_of
    from adamw_scale.advisor.rungs import ladder as ladder
    from adamw_scale.auditing import Audit as Audit
    from adamw_scale.auditing import audit as audit
    from adamw_scale.calibration import calibrate as calibrate
    from adamw_scale.errors import AdamWScaleError as AdamWScaleError
    from adamw_scale.evidence import recipes as recipes
    from adamw_scale.frameworks.emission import emit as emit
    from adamw_scale.report import write_report as write_report
    from adamw_scale.spec.advice import Recommendation as Recommendation
    from adamw_scale.spec.ladder import Ladder as Ladder
    from adamw_scale.spec.measurement import Calibration as Calibration
    from adamw_scale.spec.run import Timescale as Timescale
    from adamw_scale.spec.run import TrainingRun as TrainingRun
    from adamw_scale.theory.coefficients import ema_coefficients as ema_coefficients

_HOME = {
    "AdamWScaleError": "errors",
    "Audit": "auditing",
    "Calibration": "spec.measurement",
    "Ladder": "spec.ladder",
    "Recommendation": "spec.advice",
    "Timescale": "spec.run",
    "TrainingRun": "spec.run",
    "audit": "auditing",
    "calibrate": "calibration",
    "convert": "advisor.conversion",
    "ema_coefficients": "theory.coefficients",
    "emit": "frameworks.emission",
    "ladder": "advisor.rungs",
    "recipes": "evidence",
    "recommend": "advisor.advice",
    "timescale_of": "advisor.memory",
    "write_report": "report",
}
__all__ = [*_HOME]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
