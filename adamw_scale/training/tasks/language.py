"""Next-token prediction on text that is read many times: a small GPT, or an MLP over the last few bytes."""

from typing import ClassVar

from adamw_scale.errors import SpecError
from adamw_scale.spec.run import TrainingRun
from adamw_scale.training.data.dataset import Ngrams, TokenData, Windows
from adamw_scale.training.data.sources import load_tokens
from adamw_scale.training.models.gpt import GPT, HEAD_SIZE
from adamw_scale.training.models.mlp import ByteMLP
from adamw_scale.training.models.model import Model, Scaling
from adamw_scale.training.tasks.network import Fields, NetworkTask, classification, problem_of
from adamw_scale.training.tasks.task import TaskSource
from adamw_scale.training.trainer import Problem

MAX_CONTEXT = 2048


class LanguageTask(NetworkTask):
    """A model of the next token. Loss is in nats per token (per byte, where the tokens are bytes)."""

    unit: ClassVar[str] = "tokens"
    defaults: ClassVar[Fields] = {"dataset_size": 16 * 1024, "schedule": "linear", "depth": 2}
    data: TokenData

    def read(self, source: TaskSource) -> TokenData:
        """Text as bytes, or a file of tokens; by default the sources of Python's standard library."""
        source.only("field")
        return load_tokens(source.data, **source.options)

    def refuse_shapes(self, run: TrainingRun) -> None:
        """A context that is a whole number, and data that hold at least one."""
        context = run.sequence_length or 0.0
        if context != int(context) or not 1 <= context <= MAX_CONTEXT:
            raise SpecError(
                f"sequence_length = {context:g}: pass a whole number up to {MAX_CONTEXT} with --sequence-length"
            )
        if run.dataset_size < context:
            raise SpecError(
                f"dataset_size = {run.dataset_size:g} tokens hold no window of {context:g}: raise --dataset-size"
            )
        if self.data.held_out_size < context:
            raise SpecError(
                f"sequence_length = {context:g} is longer than the {self.data.held_out_size} tokens held out: "
                "lower --sequence-length or pass a longer text with --data"
            )


class CharLM(LanguageTask):
    """GPT on bytes or tokens: by default width 32, 2 layers, context 32, 16 KiB read 32 times.

    Chosen because its loss has a clear minimum in the timescale (one pass over more text lies on a
    plateau) and a probe takes seconds on one core.
    """

    name: ClassVar[str] = "char-lm"
    defaults: ClassVar[Fields] = dict(
        LanguageTask.defaults, epochs=32, batch_size=256, peak_lr=2e-3, width=32, sequence_length=32
    )

    def refuse_shapes(self, run: TrainingRun) -> None:
        """Whole heads and whole windows."""
        super().refuse_shapes(run)
        width, context = run.width or 0.0, run.sequence_length or 1.0
        if width > HEAD_SIZE and width % HEAD_SIZE:
            raise SpecError(
                f"width = {width:g}: the heads are {HEAD_SIZE} wide. Pass a multiple of {HEAD_SIZE} with --width"
            )
        if run.batch_size % context:
            raise SpecError(
                f"batch_size = {run.batch_size:g} tokens is not whole windows of {context:g}: "
                "pass a multiple with --batch-size"
            )

    def network(self, run: TrainingRun) -> Model:
        """The GPT of the run's width, depth and context; its vocabulary is filled up to a multiple of 64."""
        return GPT(
            Scaling.of(run),
            vocabulary=-(-self.data.vocabulary // 64) * 64,
            width=int(run.width or 0),
            depth=int(run.depth or 0),
            context=int(run.sequence_length or 0),
        )

    def problem(self, run: TrainingRun) -> Problem:
        """Windows of the text, in a new random order each epoch."""
        context, model = int(run.sequence_length or 1), self.network(run)
        examples = (
            Windows.of(self.data.training[: int(run.dataset_size) + 1], context),
            Windows.of(self.data.held_out, context),
        )
        return problem_of(model, run, classification(model), examples, int(run.batch_size) // context)


class NgramLM(LanguageTask):
    """MLP over the last 8 bytes: by default width 64, 16 KiB read 16 times. The fastest probe with a clear minimum."""

    name: ClassVar[str] = "byte-mlp"
    defaults: ClassVar[Fields] = dict(
        LanguageTask.defaults, epochs=16, batch_size=128, peak_lr=4e-3, width=64, sequence_length=8
    )

    def network(self, run: TrainingRun) -> Model:
        """The MLP of the run's width, depth and context."""
        return ByteMLP(
            Scaling.of(run),
            vocabulary=self.data.vocabulary,
            width=int(run.width or 0),
            depth=int(run.depth or 0),
            context=int(run.sequence_length or 0),
        )

    def problem(self, run: TrainingRun) -> Problem:
        """Every byte with those before it, in a new random order each epoch."""
        context, model = int(run.sequence_length or 1), self.network(run)
        examples = (
            Ngrams.of(self.data.training[: int(run.dataset_size) + context], context),
            Ngrams.of(self.data.held_out, context),
        )
        return problem_of(model, run, classification(model), examples, int(run.batch_size))
