"""Train a tiny, randomly initialised Llama on bytes with Hugging Face's Trainer; prints its metrics as JSON."""

import argparse
import json
import sysconfig
from pathlib import Path

import torch
from transformers import LlamaConfig, LlamaForCausalLM, Trainer, TrainingArguments, set_seed


class Windows(torch.utils.data.Dataset):
    """Consecutive windows of bytes."""

    def __init__(self, text, length):
        count = len(text) // length
        self.tokens = torch.frombuffer(bytearray(text[: count * length]), dtype=torch.uint8).long().view(count, length)

    def __len__(self):
        return len(self.tokens)

    def __getitem__(self, index):
        return {"input_ids": self.tokens[index], "labels": self.tokens[index]}


def main():
    """Parse, train, evaluate, print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--learning_rate", type=float, default=2e-3)
    parser.add_argument("--weight_decay", type=float, default=0.0)
    parser.add_argument("--max_steps", type=int, default=50)
    parser.add_argument("--warmup_steps", type=int, default=0)
    parser.add_argument("--per_device_train_batch_size", type=int, default=8)
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--output_dir", required=True)
    parser.add_argument("--train_bytes", type=int, default=8192)
    given = vars(parser.parse_args())
    library, size = Path(sysconfig.get_path("stdlib")), given.pop("train_bytes")
    set_seed(given["seed"])
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=256,
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=1,
            num_attention_heads=2,
            max_position_embeddings=32,
            bos_token_id=0,
            eos_token_id=0,
        )
    )
    trainer = Trainer(
        model=model,
        args=TrainingArguments(
            **given,
            lr_scheduler_type="linear",
            logging_steps=20,
            per_device_eval_batch_size=64,
            save_strategy="no",
            report_to=[],
            use_cpu=True,
            dataloader_pin_memory=False,
        ),
        train_dataset=Windows((library / "argparse.py").read_bytes()[:size], 32),
        eval_dataset=Windows((library / "inspect.py").read_bytes()[:8192], 32),
    )
    trainer.train()
    print(json.dumps(trainer.evaluate()))


if __name__ == "__main__":
    main()
