"""Which rule speaks for which training: the one place where the regime is chosen.

    finetuning, lora                            retention
    samples (images, speech, ...)
        10 epochs or more                       run-fraction
        fewer                                   loshchilov-hutter, range spans its competitors
    tokens, fewer than 4 epochs                 power-lines
    tokens, 4 epochs or more, and
        under 5 unique tokens per parameter     tau-epoch-data-limited
        otherwise                               power-lines, range spans its competitors

A tuned run is carried to another of its kind by `Regime.transfer`: along tokens per parameter where a law was
fitted on them, else at a constant timescale in epochs.

The thresholds (4 and 10 epochs, 5 unique tokens per parameter) are judgement: Wang & Aitchison's quarter of
OpenWebText, at 4 epochs and 18 unique tokens per parameter, still wants a third of the run, Kim et
al.'s optima, at 8 epochs and more and up to 11, want a few hundredths (arXiv:2405.13698, 2509.14786).
"""

from typing import NamedTuple

from adamw_scale.errors import MissingInputError
from adamw_scale.spec.run import TrainingRun

MANY_EPOCHS = 4.0
MANY_EPOCHS_OF_SAMPLES = 10.0
SCARCE_UNIQUE_TOKENS_PER_PARAM = 5.0
# What a tuned run is carried by, and what the carried value is compared with.
TRANSFERS = ("power-lines", "constant-tau-epoch", "run-fraction", "complete-d-p", "loshchilov-hutter", "fixed")
BASELINE = "fixed"  # shown beside every answer: what the copied value would do to this run


class Regime(NamedTuple):
    """A kind of training: its default rule, the rules it competes with, and what is unsettled.

    `spans_competitors`: published answers disagree so much that the range covers all of them.
    `calibrate`: the reason to measure instead of believing, or "" where the law suffices.
    `objective`: what the default rule's law does not minimise, or "".
    `transfer`: the rule that carries a tuned run of this kind to another.
    `indifferent_up_to`: weight decays from 0 to this are all in use and none is known to be better.
    """

    name: str
    default: str
    competitors: tuple[str, ...]
    spans_competitors: bool = False
    calibrate: str = ""
    indifferent_up_to: float = 0.0
    objective: str = ""
    transfer: str = "constant-tau-epoch"


FINETUNING = Regime("finetuning", "retention", (), indifferent_up_to=0.1)
MULTI_EPOCH = Regime("multi-epoch", "run-fraction", ("loshchilov-hutter",))
FEW_EPOCH = Regime(
    "few-epoch",
    "loshchilov-hutter",
    ("run-fraction", "constant-tau-epoch"),
    spans_competitors=True,
    calibrate="no law was fitted on a few passes over images or records; published answers differ manyfold",
)
FEW_EPOCH_LM = Regime(
    "few-epoch language model",
    "power-lines",
    ("steplaw-refit", "adana", "constant-tau-epoch"),
    objective="the law minimises the loss of pretraining; for what a model can still learn afterwards Han et al. "
    "(arXiv:2602.11137) found 3 to 10 times the usual decay best, at 20 to 140 tokens per parameter",
    transfer="power-lines",
)
DATA_LIMITED_LM = Regime(
    "data-limited language model",
    "tau-epoch-data-limited",
    ("run-fraction", "constant-tau-epoch", "power-lines"),
    calibrate="the optima behind this rule come from one laboratory, and its competitors differ by an order of "
    "magnitude",
)
MULTI_EPOCH_LM = Regime(
    "multi-epoch language model",
    "power-lines",
    ("constant-tau-epoch", "tau-epoch-data-limited", "steplaw-refit"),
    spans_competitors=True,
    calibrate="no law was fitted on language models that repeat plentiful data; published answers differ several-fold",
)


def regime(run: TrainingRun) -> Regime:
    """The regime of a run.

    Raises:
        MissingInputError: a language model of 4 epochs or more without num_params.
    """
    if run.task in ("finetuning", "lora"):
        return FINETUNING
    if run.unit == "samples":
        return MULTI_EPOCH if run.epochs >= MANY_EPOCHS_OF_SAMPLES else FEW_EPOCH
    if run.epochs < MANY_EPOCHS:
        return FEW_EPOCH_LM
    if run.unique_tokens_per_param is None:
        raise MissingInputError(
            f"with --epochs {run.epochs:g} the regime depends on tokens per parameter: pass --params (num_params)"
        )
    scarce = run.unique_tokens_per_param < SCARCE_UNIQUE_TOKENS_PER_PARAM
    return DATA_LIMITED_LM if scarce else MULTI_EPOCH_LM
