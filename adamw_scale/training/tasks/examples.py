"""Independent examples, classified or regressed on: an MLP on tables, a ViT or a ResNet on images."""

from typing import Any, ClassVar

import torch

from adamw_scale.errors import SpecError
from adamw_scale.spec.run import TrainingRun
from adamw_scale.training.data.dataset import Array, RowData, Rows
from adamw_scale.training.data.sources import load_rows
from adamw_scale.training.models.mlp import MLP
from adamw_scale.training.models.model import Model, Scaling
from adamw_scale.training.models.resnet import ResNet
from adamw_scale.training.models.vit import HEAD_SIZE, ViT
from adamw_scale.training.tasks.network import Fields, NetworkTask, classification, problem_of, regression
from adamw_scale.training.tasks.task import TaskSource
from adamw_scale.training.trainer import Problem

LABEL_NOISE = "0.2"  # of the default data's training labels: without it, digits are too easy for decay to matter
PATCHES_A_SIDE = 4


class ExamplesTask(NetworkTask):
    """A model of a target given an input. Loss is cross-entropy in nats, or squared error where targets are numbers."""

    unit: ClassVar[str] = "samples"
    defaults: ClassVar[Fields] = {"batch_size": 16, "betas": (0.9, 0.95), "schedule": "linear"}
    data: RowData
    takes: ClassVar[tuple[str, ...]]

    def read(self, source: TaskSource) -> RowData:
        """The user's examples; by default scikit-learn's digits with a fifth of the training labels at random."""
        source.only(*self.takes)
        options = dict(source.options)
        if source.data is None:
            options.setdefault("label_noise", LABEL_NOISE)
        return load_rows(source.data, **options)

    @property
    def outputs(self) -> int:
        """Numbers the network puts out: one a class, or one to regress."""
        return self.data.classes or 1

    @property
    def image(self) -> tuple[int, int, int]:
        """Channels, height and width of the inputs; SpecError where they are no images."""
        shape = self.data.training[0].shape[1:]
        if len(shape) != 3:
            raise SpecError(
                f"task {self.name} trains on images, and {self.data.name} has inputs of shape {shape}: use --task mlp"
            )
        return shape

    def default_run(self, overrides: dict[str, Any]) -> TrainingRun:
        """As for every network; by default on at most a few hundred examples, or all there are."""
        size = min(int(self.defaults["dataset_size"]), self.data.size)
        return super().default_run({"dataset_size": size, **overrides})

    def refuse_shapes(self, run: TrainingRun) -> None:
        """Whole examples, at least a batch of them."""
        if run.batch_size != int(run.batch_size) or run.batch_size > run.dataset_size:
            raise SpecError(
                f"batch_size = {run.batch_size:g}: pass a whole number up to the {run.dataset_size:g} samples "
                "with --batch-size"
            )

    def problem(self, run: TrainingRun) -> Problem:
        """Examples in a new random order each epoch."""
        model, size = self.network(run), int(run.dataset_size)
        inputs, targets = self.data.training
        functions = regression(model) if self.data.classes is None else classification(model)
        examples = (self._rows(inputs[:size], targets[:size]), self._rows(*self.data.held_out))
        return problem_of(model, run, functions, examples, int(run.batch_size))

    def _rows(self, inputs: Array, targets: Array) -> Rows:
        target_type = torch.float32 if self.data.classes is None else torch.long
        return Rows(torch.tensor(inputs, dtype=torch.float32), torch.tensor(targets, dtype=target_type))


class MLPTask(ExamplesTask):
    """MLP on a table or on flattened images: by default width 64, 2 hidden layers, 320 noisy digits seen 100 times."""

    name: ClassVar[str] = "mlp"
    takes: ClassVar[tuple[str, ...]] = ("target", "label_noise", "image_size")
    defaults: ClassVar[Fields] = dict(
        ExamplesTask.defaults, dataset_size=320, epochs=100, peak_lr=3e-3, width=64, depth=2
    )

    def network(self, run: TrainingRun) -> Model:
        """The MLP of the run's width and depth."""
        inputs = int(torch.Size(self.data.training[0].shape[1:]).numel())
        return MLP(
            Scaling.of(run), inputs=inputs, width=int(run.width or 0), depth=int(run.depth or 0), outputs=self.outputs
        )


class ViTTask(ExamplesTask):
    """Vision transformer on images, in 4 x 4 patches: by default width 32, 2 layers, 640 noisy digits seen 60 times."""

    name: ClassVar[str] = "vit"
    takes: ClassVar[tuple[str, ...]] = ("label_noise", "image_size")
    defaults: ClassVar[Fields] = dict(MLPTask.defaults, dataset_size=640, epochs=60, peak_lr=2e-3, width=32)

    def refuse_shapes(self, run: TrainingRun) -> None:
        """Whole heads and whole patches."""
        super().refuse_shapes(run)
        _, height, breadth = self.image
        if (run.width or 0.0) > HEAD_SIZE and (run.width or 0.0) % HEAD_SIZE:
            raise SpecError(
                f"width = {run.width:g}: the heads are {HEAD_SIZE} wide. Pass a multiple of {HEAD_SIZE} with --width"
            )
        if height != breadth or height % PATCHES_A_SIDE:
            raise SpecError(
                f"images of {height} x {breadth} are not {PATCHES_A_SIDE} x {PATCHES_A_SIDE} whole patches: pass "
                f"square ones of a multiple of {PATCHES_A_SIDE}, or --task-option image_size=32"
            )

    def network(self, run: TrainingRun) -> Model:
        """The ViT of the run's width and depth."""
        channels, height, _ = self.image
        return ViT(
            Scaling.of(run),
            channels=channels,
            image_size=height,
            patch_size=height // PATCHES_A_SIDE,
            width=int(run.width or 0),
            depth=int(run.depth or 0),
            outputs=self.outputs,
        )


class ResNetTask(ExamplesTask):
    """Small ResNet with group norm on images: by default 16 channels, 1 block a stage, 320 noisy digits."""

    name: ClassVar[str] = "resnet"
    takes: ClassVar[tuple[str, ...]] = ("label_noise", "image_size")
    widest: ClassVar[int] = 512
    deepest: ClassVar[int] = 18
    defaults: ClassVar[Fields] = dict(MLPTask.defaults, epochs=50, peak_lr=2e-3, width=16, depth=1)

    def refuse_shapes(self, run: TrainingRun) -> None:
        """Images, and channels that divide into groups of 8."""
        super().refuse_shapes(run)
        if (run.width or 0.0) % 8:
            raise SpecError(
                f"width = {run.width:g}: channels are normalised in groups of 8. Pass a multiple of 8 with --width"
            )
        if min(self.image[1:]) < 4:
            raise SpecError(f"images of {self.image[1]} x {self.image[2]} are too small: the network halves them twice")

    def network(self, run: TrainingRun) -> Model:
        """The ResNet of the run's channels and blocks a stage."""
        channels, _, _ = self.image
        return ResNet(
            Scaling.of(run),
            channels=channels,
            width=int(run.width or 0),
            depth=int(run.depth or 0),
            outputs=self.outputs,
        )
