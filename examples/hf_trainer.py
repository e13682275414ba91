"""For whoever trains with Hugging Face's Trainer: the recommended values in TrainingArguments, watched while it trains.

    python examples/hf_trainer.py [FOLDER]

Trains a tiny, randomly initialised Llama on bytes of Python's standard library for some seconds. The readings are in
the Trainer's own logs, so in whatever `report_to` names; here they are printed.
"""

import sys
import sysconfig
import tempfile
from pathlib import Path

import torch
from transformers import LlamaConfig, LlamaForCausalLM, Trainer, TrainingArguments, set_seed

from adamw_scale import TrainingRun, recommend
from adamw_scale.integrations.huggingface import TimescaleCallback

LENGTH, ROWS, BATCH = 32, 2048, 8

text = (Path(sysconfig.get_paths()["stdlib"]) / "argparse.py").read_bytes()[: LENGTH * ROWS]
tokens = torch.tensor(list(text)).view(ROWS, LENGTH)
rows = [{"input_ids": row, "labels": row} for row in tokens]

set_seed(0)
model = LlamaForCausalLM(
    LlamaConfig(
        vocab_size=256,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=LENGTH,
        bos_token_id=0,
        eos_token_id=0,
    )
)
advice = recommend(
    TrainingRun(
        dataset_size=LENGTH * ROWS,
        batch_size=LENGTH * BATCH,
        peak_lr=1e-2,
        schedule="cosine",
        num_params=model.num_parameters(),
    )
)
arguments = TrainingArguments(
    output_dir=sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp(),
    learning_rate=advice.peak_lr,
    weight_decay=advice.weight_decay,
    lr_scheduler_type="cosine",
    adam_beta2=advice.run.betas[1],
    num_train_epochs=1,
    per_device_train_batch_size=BATCH,
    logging_steps=32,
    report_to=[],
    save_strategy="no",
    use_cpu=True,
    disable_tqdm=True,
)
trainer = Trainer(model=model, args=arguments, train_dataset=rows)
watching = TimescaleCallback(advice).watch(trainer)
trainer.train()

for line in trainer.state.log_history:
    if "loss" in line:
        decayed = {name.rpartition("/")[2]: value for name, value in line.items() if "/decayed-0/" in name}
        print(
            f"epoch {line['epoch']:.1f}  loss {float(line['loss']):.2f}  lr·λ {decayed['decay']:.3g}, planned "
            f"{decayed['planned']:.3g}, {decayed['retention']:.0%} of the initial weights left"
        )
print([warning.code for warning in watching.monitor.warnings] if watching.monitor else "")
