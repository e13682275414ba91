"""What of a run moves its optimal timescale, as the few numbers that the law is linear in.

s = tanh(log2(T) / 2.5) grows from 0 to 1 with the epochs: in a single pass the optimum depends on neither learning rate
nor batch (the CS312 sweep: ± .1 octave over 32-fold batch and 4-fold lr), so tau stays; in many passes a training keeps
nearly λ itself, and tau as a share of the run falls as 1 / lr and 1 / T and grows as the batch
(evidence/measured_optima.csv: slopes of -0.96, -1.1 and 0.7 to 1.5 in the mean). Data beyond 20 tokens per parameter
count as in Power Lines (arXiv:2505.13738); scarcer than five tokens per parameter they stop to count. Below one epoch
the data that are seen are the data there are.
"""

import math
from typing import NamedTuple

from adamw_scale.spec.run import TrainingRun

USUAL, SCARCE = 20.0, 5.0  # unique tokens per parameter: where the feature is 0, and where fewer hardly count
TOKENS_PER_SAMPLE = 30.0  # judgement: an image or a row says as much as some tens of tokens
FEATURES = {
    "level": "1",
    "samples": "1 where data are counted in samples, else 0",
    "data": f"log2((u + {SCARCE:g}) / {USUAL + SCARCE:g}), u the unique tokens per parameter; a sample counts as "
    f"{TOKENS_PER_SAMPLE:g} tokens",
    "epochs": "log2 T, T the passes over the data",
    "sample epochs": "the same where data are counted in samples, else 0. Images are trained for hundreds, which tells "
    "trainings of one source from those of another; between runs of one source it counts as the same",
    "lr": "s · log2(lr / usual), lr that of hidden matrices, usual 0.003 at 150M parameters and as 1 / sqrt(N)",
    "batch": "s · log2(B / usual), B in tokens, usual 300k at 10B tokens seen (Step Law, arXiv:2503.04715) and as "
    "their power 0.2, by likelihood; single passes want 0.38 to 0.57 (the same, arXiv:2505.13738)",
    "source batch": "the same, but for telling trainings of one source from those of another",
    "schedule": "log2(2 · mean of the schedule): 0 for decay to zero, 1 for a constant learning rate",
    "muon": "1 where Muon trains the hidden matrices, else 0; its lr is none of AdamW's and counts as usual",
}
NAMES = tuple(FEATURES)
TYPICAL_PARAMS, TYPICAL_WIDTH = 2.5e7, 512.0  # where nobody says; parameters go as the square of the width
UNKNOWN_PARAMS = 3.0  # octaves: standard deviation of the parameters where nobody says them
UNKNOWN_LR = 1.5  # octaves: standard deviation of log2(lr / usual) where the parameters or the lr are not known
LION_LR = 5.0  # Lion takes 3 to 10 times less than AdamW, and as much more decay (arXiv:2302.06675)
SAMPLES = NAMES.index("samples")
BETWEEN_SOURCES = [NAMES.index("sample epochs"), NAMES.index("source batch")]
OCTAVES_TO_REPEATS = 2.5  # of epochs; chosen by the likelihood of the evidence, and slow enough to have no cliff


class Features(NamedTuple):
    """A run's features in the order of `NAMES`, how unsure each is, and where the run is among others.

    `blur` are standard deviations, 0 where a feature is known; what nobody says of two runs is taken to be the same.
    `where` are octaves of data, epochs, batch, parameters and learning rate; `moves` the same, but batch and learning
    rate as in the features: against what is usual, times s.
    """

    values: tuple[float, ...]
    blur: tuple[float, ...]
    where: tuple[float, ...]
    moves: tuple[float, ...]


def features_of(run: TrainingRun) -> Features:
    """The features of a run.

    Example:
        >>> run = TrainingRun(dataset_size="2.6B", epochs=4, batch_size=2**18, peak_lr=3e-3, num_params="150M")
        >>> [round(value, 2) for value in features_of(run).values]
        [1.0, 0.0, -0.16, 2.0, 0.0, 0.0, -0.14, -0.14, 0.0, 0.0]
    """
    samples = run.unit == "samples"
    tokens = TOKENS_PER_SAMPLE if samples else 1.0
    params = run.num_params or TYPICAL_PARAMS * ((run.width or TYPICAL_WIDTH) / TYPICAL_WIDTH) ** 2
    epochs = max(1.0, run.epochs)
    unique = tokens * run.dataset_size * min(1.0, run.epochs) / params
    repeats = math.tanh(math.log2(epochs) / OCTAVES_TO_REPEATS)
    usual_lr = 3e-3 * (params / 1.5e8) ** -0.5
    usual_batch = 3e5 * (tokens * run.total_units / 1e10) ** 0.2
    muon = run.optimizer == "muon"
    if run.optimizer == "lion":
        usual_lr /= LION_LR
    lr = usual_lr if run.peak_lr is None or muon else run.hidden_lr
    known = run.peak_lr is not None and run.num_params is not None and run.optimizer == "adamw"
    where = tuple(math.log2(value) for value in (run.dataset_size, run.epochs, run.batch_size, params, lr))
    lr_moves, batch_moves = (
        repeats * math.log2(lr / usual_lr),
        repeats * math.log2(tokens * run.batch_size / usual_batch),
    )
    return Features(
        values=(
            1.0,
            float(samples),
            math.log2((unique + SCARCE) / (USUAL + SCARCE)),
            math.log2(epochs),
            math.log2(epochs) if samples else 0.0,
            lr_moves,
            batch_moves,
            batch_moves,
            math.log2(2.0 * run.decay_schedule.mean()),
            float(muon),
        ),
        blur=(
            *(0.0, 0.0),
            0.0 if run.num_params is not None else UNKNOWN_PARAMS * unique / (unique + SCARCE),
            *(0.0, 0.0),
            0.0 if known else repeats * UNKNOWN_LR,
            *(0.0, 0.0, 0.0, 0.0),
        ),
        where=where,
        moves=(*where[:2], batch_moves, where[3], lr_moves),
    )


def of_one_source(features: Features, first: Features, alike: float) -> Features:
    """The same run as one of the source that another run is of, as far as the two are alike, from 0 to 1."""
    values = list(features.values)
    for i in BETWEEN_SOURCES:
        values[i] += alike * (first.values[i] - values[i])
    return features._replace(values=tuple(values))
