"""nanochat: Muon for the blocks' matrices, AdamW for the rest; --weight-decay reaches Muon alone.

Muon's decay is cautious, acting where update and weight agree in sign, and falls to zero as a cosine
(scripts/base_train.py). The AdamW groups (embeddings, unembedding, scalars) have betas, epsilon and decays that are
fixed in setup_optimizer of nanochat/gpt.py. So no flag sets AdamW's weight decay. What is written gives Muon's matrices
the sum of lr*λ that a rule fitted for AdamW recommends: assumed, not tested for Muon, and with --matrix-lr taken from
the run's peak lr. Both are divided by the root of the batch over 2^19 tokens, with which nanochat multiplies them; it
also multiplies weight decay by the parameters of its 12-layer model over yours, which is not known here.
"""

import math

from adamw_scale.errors import SpecError
from adamw_scale.formats.document import Document
from adamw_scale.frameworks.config import Config, Group, hidden_only
from adamw_scale.frameworks.framework import Framework, Snippet
from adamw_scale.frameworks.spelling import betas_of, comment, eps_of, value, whole
from adamw_scale.spec.advice import Caution
from adamw_scale.theory.parametrizations import EMBEDDING, HIDDEN, NORM_AND_BIAS, OUTPUT
from adamw_scale.theory.weight_decay_schedules import Decay

REFERENCE_BATCH = 2**19  # tokens, at which lr and weight decay are used as given
MUON = Caution(
    code="muon",
    message=(
        "no flag of nanochat sets AdamW's weight decay: --weight-decay and --matrix-lr are Muon's, for which this "
        "rule was not fitted. Written is what has the same sum of lr*λ over the run, at the assumption that cautious "
        "decay acts on half of the weights"
    ),
    fix="sweep --weight-decay around it; the decays of the AdamW groups are in setup_optimizer of nanochat/gpt.py",
)


class NanoChat(Framework):
    """Arguments of scripts/base_train.py, as a bash array."""

    name = "nanochat"
    title = "nanochat"
    language = "shell"
    convention = "nanochat-muon"
    undecayed = frozenset({EMBEDDING, OUTPUT, NORM_AND_BIAS})
    undecayed_by_default = (
        "embeddings, unembedding and scalars from --weight-decay (their own decays are fixed, 0 to 0.05)"
    )
    grouping = "none"
    how_to_group = (
        "set the decays of the AdamW groups in setup_optimizer of nanochat/gpt.py; their lrs have flags of their own"
    )
    schedules = ("constant", "linear", "wsd")
    weight_decay_schedules = ("constant", "cosine")
    proven = "source only: base_train.py is a script of a repository, not a library"

    def groups_of(self, wanted: tuple[Group, ...]) -> tuple[Group, ...]:
        """The hidden matrices at their own lr, which --matrix-lr sets; nothing else is reached."""
        hidden = next(group for group in wanted if group.group == HIDDEN)
        return hidden_only(wanted, self.undecayed, hidden.lr_factor)

    def finished(self, snippet: Snippet) -> Snippet:
        """With a caution on top: these are not AdamW's arguments."""
        line = comment([f"Caution ({MUON.code}): {MUON.message}."])
        return snippet.model_copy(update={"text": line + snippet.text, "cautions": (MUON, *snippet.cautions)})

    def write(self, config: Config) -> str:
        """Arguments for `python -m scripts.base_train`; Muon's decay falls as a cosine whatever the config says."""
        steps, schedule, (beta1, beta2) = whole(config.total_steps), config.lr_schedule, betas_of(config)
        own = Decay(schedule, config.weight_decay_schedule, config.final_weight_decay_fraction or 0.0)
        weight_decay = config.weight_decay * own.mean() / Decay(schedule, "cosine").mean()
        scale = math.sqrt(config.batch_tokens / REFERENCE_BATCH) if config.batch_tokens else 1.0
        falling = {"linear": steps - whole(config.warmup_steps), "wsd": whole(config.decay_steps)}
        rows = [
            f"--num-iterations {steps}",
            *([f"--total-batch-size {whole(config.batch_tokens)}"] if config.batch_tokens else []),
            *([f"--max-seq-len {whole(config.sequence_length)}"] if config.sequence_length else []),
            f"--matrix-lr {value((config.peak_lr or 0) * config.group(HIDDEN).lr_factor / scale)}",
            f"--weight-decay {value(weight_decay / scale)}",
            f"--warmup-steps {whole(config.warmup_steps)}",
            f"--warmdown-ratio {value(falling.get(schedule.name, 0) / steps)}",
            f"--final-lr-frac {value(schedule.final)}",
        ]
        return (
            f"# AdamW groups keep their own betas and eps, not {beta1}, {beta2} and "
            f"{eps_of(config)}.\n"
            "# Multiply --weight-decay by your matrices' parameters over those of nanochat's 12-layer model.\n"
            "NANOCHAT_ARGS=(\n" + "".join(f"    {row}\n" for row in rows) + ")\n"
        )

    def read(self, document: Document) -> Config:
        """Not read: its arguments say nothing of AdamW.

        Raises:
            SpecError: always.
        """
        raise SpecError(
            "nanochat's AdamW groups are configured in code (nanochat/gpt.py), and --weight-decay is Muon's: write "
            "the values of a group in a --run file"
        )
