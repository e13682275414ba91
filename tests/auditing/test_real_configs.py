"""Public configs, retyped as facts: the timescale each really has, known traps found, no false error on the sound ones.

Every file names its source in its first line; JSON has no comments, so its sources are here:
    deepspeed-cifar            microsoft/DeepSpeedExamples cifar/ds_config.json
    deepspeed-bingbert         microsoft/DeepSpeedExamples bing_bert/deepspeed_bsz4096_adam_config.json
    deepspeed-megatron_zero2   microsoft/DeepSpeedExamples Megatron-LM/scripts/ds_zero2_config.json
    deepspeed-transformers     huggingface/transformers tests/deepspeed/ds_config_zero2.json
"""

import json
from pathlib import Path
from typing import NamedTuple

import pytest
from conftest import Command

CONFIGS = Path(__file__).parent / "configs"
IMAGENET = "--samples 1281167"


class Case(NamedTuple):
    """What is added on the command line, and what an audit must say; tau in steps at peak, None without decay."""

    framework: str
    tau: float | None
    errors: tuple[str, ...] = ()
    also: tuple[str, ...] = ()
    options: str = ""


CASES = {
    "megatron-gpt3_175b.sh": Case("megatron", 166_667, options="--params 175B"),
    "megatron-gpt3_debug.sh": Case("megatron", 166_667, ("warmup-fills-run",)),
    "hf-zephyr_sft_full.yaml": Case("huggingface", None, (), ("removed-key", "no-decay-by-default")),
    "hf-stanford_alpaca.sh": Case(
        "huggingface", None, (), ("removed-key", "no-decay"), "--tokens 20M --sequence-length 512 --task finetuning"
    ),
    "hf-run_mlm_norwegian_roberta.sh": Case("huggingface", 333_333, options="--devices 8 --tokens 8B --params 125M"),
    "axolotl-llama2_fft.yaml": Case("axolotl", 50_000, (), ("inert",), "--devices 8 --tokens 20M --task finetuning"),
    "axolotl-llama2_lora.yaml": Case("axolotl", None, (), ("no-decay",), "--devices 8 --tokens 20M --task lora"),
    "deepspeed-bingbert_bsz4096.json": Case("deepspeed", 500_000, ("refused-key",)),
    "deepspeed-cifar.json": Case(
        "deepspeed", 3.3333e9, (), ("inert",), "--samples 50000 --epochs 30 --schedule constant --warmup 1000"
    ),
    "deepspeed-transformers_auto.json": Case("deepspeed", None),
    "deepspeed-megatron_zero2.json": Case("deepspeed", None, (), ("no-decay-by-default",)),
    "fairseq-iwslt14_transformer.sh": Case("fairseq", 2e7),
    "fairseq-roberta_base.yaml": Case("fairseq", 200_000),
    "levanter-gpt2_small.yaml": Case("levanter", 16_667, options="--params 125M --tokens 9B"),
    "litgpt-tinyllama_optimizer_block.yaml": Case("litgpt", 25_000, (), ("decay-on-norms",), "--params 1.1B"),
    "llmfoundry-mpt_125m.yaml": Case("llm-foundry", None, (), ("no-decay",), "--params 125M"),
    "llmfoundry-mpt_125m_lion.yaml": Case("llm-foundry", 1_667, (), ("warmup-outlasts-timescale", "not-adamw")),
    "composer-mosaic_bert_base.yaml": Case("llm-foundry", 100_000, options="--params 137M"),
    "maxtext-base.yaml": Case("maxtext", 333_333, (), ("decay-on-norms",), "--devices 32 --params 1B"),
    "megatronbridge-llama3_8b.py": Case("megatron-bridge", 101_010, (), ("decay-overridden",)),
    "megatronbridge-moonlight_16b_sft.py": Case("megatron-bridge", 6_060_606, ("decay-overridden",)),
    "nanogpt-train_gpt2.py": Case("nanogpt", 16_667, options="--params 124M"),
    "nanogpt-warmup_is_whole_run.py": Case("nanogpt", 16_667, ("warmup-fills-run",)),
    "nemoautomodel-nanogpt_pretrain.yaml": Case("nemo-automodel", 50_000, (), ("decay-on-norms",)),
    "olmocore-olmo2_32b.py": Case("olmo-core", 16_667, (), ("decay-on-norms",), "--params 32B"),
    "timm-convnext_tiny.sh": Case(
        "timm",
        5_000,
        (),
        ("warmup-outlasts-timescale",),
        f"--framework timm {IMAGENET} --epochs 300 --weight-decay 0.05 --warmup 6240",
    ),
    "timm-mae_pretrain_large.sh": Case(
        "timm",
        8_333,
        (),
        ("warmup-outlasts-timescale",),
        f"{IMAGENET} --lr 2.4e-3 --batch-size 4096 --schedule cosine --warmup 12480",
    ),
    "timm-deit_small.sh": Case(
        "timm",
        20_000,
        (),
        (),
        f"--framework timm {IMAGENET} --epochs 300 --lr 1e-3 --weight-decay 0.05 --schedule cosine --batch-size 1024",
    ),
    "torchtitan-llama3_8b.py": Case("torchtitan", 33_333, (), ("decay-on-norms", "inert"), "--devices 8 --params 8B"),
    "torchtune-llama3_1_8b_full.yaml": Case("torchtune", 5e6, (), ("decay-by-default",)),
    "torch-pyg_gcn_adam.py": Case("pytorch", None, ("l2",)),
}


def test_there_is_a_case_for_every_file() -> None:
    """And a file for every case."""
    assert {path.name for path in CONFIGS.iterdir()} == set(CASES)


@pytest.mark.parametrize("name", CASES)
def test_audit_of_a_public_config(adamw_scale: Command, name: str) -> None:
    """The framework is recognised, the timescale is that of its own convention, errors are the known traps."""
    case = CASES[name]
    outcome = adamw_scale("audit", str(CONFIGS / name), "--json", *case.options.split())
    document = json.loads(outcome.out)
    assert document["framework"] == case.framework
    if case.tau is None:
        assert "timescale" not in document
    else:
        assert document["timescale"]["iters"] == pytest.approx(case.tau, rel=1e-3)
    found = [(finding["severity"], finding["code"]) for finding in document["findings"]]
    assert {code for severity, code in found if severity == "error"} == set(case.errors)
    assert set(case.also) <= {code for _, code in found}
    assert outcome.code == bool(case.errors)
    assert outcome.err == ""


@pytest.mark.parametrize("name", CASES)
def test_audit_for_people(adamw_scale: Command, name: str) -> None:
    """At 80 columns, every finding with its fix; what is missing is asked for with the option."""
    outcome = adamw_scale("audit", str(CONFIGS / name), *CASES[name].options.split())
    assert max(map(len, outcome.out.splitlines())) <= 80
    assert outcome.out.count("  fix  ") == sum(
        outcome.out.count(f"\n  {word}") for word in ("error ", "warning ", "note ")
    )
    assert ("not judged" in outcome.out) == ("add " in outcome.out)
