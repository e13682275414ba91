"""What probes train: data, model and loss, one file per task, plus a line here."""

from importlib.util import find_spec

from adamw_scale.errors import MissingExtraError
from adamw_scale.registry import Registry
from adamw_scale.training.tasks.task import Task, TaskSource

TASKS: Registry[type[Task]] = Registry(
    "task",
    "adamw_scale.tasks",
    {
        "char-lm": "adamw_scale.training.tasks.language:CharLM",
        "byte-mlp": "adamw_scale.training.tasks.language:NgramLM",
        "mlp": "adamw_scale.training.tasks.examples:MLPTask",
        "vit": "adamw_scale.training.tasks.examples:ViTTask",
        "resnet": "adamw_scale.training.tasks.examples:ResNetTask",
        "module": "adamw_scale.training.tasks.module:ModuleTask",
        "command": "adamw_scale.training.tasks.command:CommandTask",
    },
)
SUMMARIES = {  # for `list`, since tasks import torch
    "char-lm": "a small GPT on bytes of text, or on tokens",
    "byte-mlp": "an MLP that reads 16 bytes of text and predicts the next",
    "mlp": "an MLP on rows of a table",
    "vit": "a vision transformer on images",
    "resnet": "a small residual network on images",
    "module": "your own torch module: --task package.module:attribute",
    "command": "your own script: --command 'python train.py --lr {lr} ...'",
}


def load_task(source: TaskSource) -> "Task":
    """The task that a source names: one of `TASKS`, or the user's own at package.module:attribute.

    Raises:
        UnknownNameError: no such task.
        MissingExtraError: torch is not installed, which all but a command needs.
        SpecError: the data or options are not what the task takes, or the user's task cannot be imported.
    """
    if source.name != "command" and find_spec("torch") is None:
        raise MissingExtraError("torch", "calibrate", "calibrating")
    return TASKS["module" if ":" in source.name else source.name](source)
