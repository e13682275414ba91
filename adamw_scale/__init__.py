"""Which weight decay to use with AdamW, and how sure that is.

The Python door:

    >>> import adamw_scale
    >>> run = adamw_scale.TrainingRun(dataset_size="26B", batch_size="0.5M", peak_lr=3e-4, num_params="1.3B")
    >>> round(adamw_scale.recommend(run).weight_decay, 2)
    0.29

Names load on first use, so importing the package costs nothing.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from adamw_scale.advisor import recommend as recommend
    from adamw_scale.calibration import calibrate as calibrate
    from adamw_scale.conversion import convert as convert
    from adamw_scale.ema_coefficients import ema_coefficients as ema_coefficients
    from adamw_scale.errors import AdamWScaleError as AdamWScaleError
    from adamw_scale.spec import Calibration as Calibration
    from adamw_scale.spec import Recommendation as Recommendation
    from adamw_scale.spec import Timescale as Timescale
    from adamw_scale.spec import TrainingRun as TrainingRun

_HOME = {
    "AdamWScaleError": "errors",
    "Calibration": "spec",
    "Recommendation": "spec",
    "Timescale": "spec",
    "TrainingRun": "spec",
    "calibrate": "calibration",
    "convert": "conversion",
    "ema_coefficients": "ema_coefficients",
    "recommend": "advisor",
}
__all__ = [
    "AdamWScaleError",
    "Calibration",
    "Recommendation",
    "Timescale",
    "TrainingRun",
    "calibrate",
    "convert",
    "ema_coefficients",
    "recommend",
]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
