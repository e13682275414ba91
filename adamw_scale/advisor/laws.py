"""What published learning-rate and batch laws say about a run that has no learning rate yet."""

from collections.abc import Callable, Iterator

from adamw_scale.spec.advice import LawAdvice
from adamw_scale.spec.run import TrainingRun
from adamw_scale.theory.lr_laws import LAWS


def laws_for(run: TrainingRun, decay_at: Callable[[float], float | None] | None = None) -> Iterator[LawAdvice]:
    """Each law's learning rate, λ there where something tells it, and its batch; for language models only.

    A law speaks of the matrices of the model itself, so its rate and λ are those of the hidden ones. What is passed as
    --lr for them is the base rate, of which `decay_at` gives λ.
    """
    if run.unit != "tokens" or run.num_params is None or run.task != "pretraining" or run.optimizer != "adamw":
        return
    size, tokens = run.num_params, run.total_units
    for name, law in LAWS.items():
        lr = law.peak_lr(size, tokens, run.batch_size)
        base = None if lr is None else lr / run.on_hidden.peak_lr
        outside = law.outside(size, tokens)
        counted = "" if run.num_params_kind == law.num_params_kind else f"; counts {law.num_params_kind} parameters"
        yield LawAdvice(
            law=name,
            peak_lr=base,
            weight_decay=None if base is None or decay_at is None else decay_at(base),
            batch_size=None if law.batch_size is None else law.batch_size(size, tokens),
            in_domain=not outside,
            source=law.source,
            certainty=law.certainty,
            remark=law.remark + "".join(f"; {clause}" for clause in outside) + counted,
        )
