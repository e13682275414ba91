"""What `audit --fix` does to faults of trainers' own keys: the second audit is clean, the rest stays byte for byte."""

from functools import partial

import pytest

from adamw_scale.auditing import audit
from adamw_scale.auditing.mending import mended
from adamw_scale.frameworks.torchtune import COSINE, OLD_COSINE

# Framework, suffix, code of the finding, text, and its lines that change.
CASES: dict[str, tuple[str, str, str, str, dict[str, str | None]]] = {
    "levanter-refused": (
        "levanter",
        ".yaml",
        "refused-key",
        "optimizer:\n  lr: 6e-4  # peak\n  eps: 1e-8\n  weight_decay: 0.1\ntrainer:\n  num_train_steps: 5000\n",
        {"  lr: 6e-4  # peak": "  learning_rate: 6e-4  # peak", "  eps: 1e-8": "  epsilon: 1e-8"},
    ),
    "fairseq-tri-stage": (
        "fairseq",
        ".sh",
        "refused-key",
        "fairseq-train --lr 5e-4 --lr-scheduler tri_stage \\\n  --warmup-updates 500 --decay-steps 500\n",
        {"  --warmup-updates 500 --decay-steps 500": "  --warmup-steps 500 --decay-steps 500"},
    ),
    "maxtext-renamed": (
        "maxtext",
        ".yaml",
        "renamed-key",
        "adam_weight_decay: 0.1\ncosine_learning_rate_final_fraction: 0.05  # floor\nsteps: 10000\n",
        {"cosine_learning_rate_final_fraction: 0.05  # floor": "learning_rate_final_fraction: 0.05  # floor"},
    ),
    "torchtitan-dead": (
        "torchtitan",
        ".py",
        "ignored-key",
        'ParamGroupConfig(pattern=".*", optimizer_kwargs={"lr": 1e-3, "weight_decay": 0.1, "wd": 0.3})\n',
        {
            'ParamGroupConfig(pattern=".*", optimizer_kwargs={"lr": 1e-3, "weight_decay": 0.1, "wd": 0.3})': (
                'ParamGroupConfig(pattern=".*", optimizer_kwargs={"lr": 1e-3, "weight_decay": 0.1, })'
            )
        },
    ),
    "torchtitan-short": (
        "torchtitan",
        ".toml",
        "schedule-too-short",
        '[optimizer]\nname = "AdamW"\nlr = 3e-4\n[lr_scheduler]\ntotal_steps = 500  # x\n[training]\nsteps = 900\n',
        {"total_steps = 500  # x": None},
    ),
    "olmo-core-dead": (
        "olmo-core",
        ".py",
        "ignored-key",
        'AdamWConfig(group_overrides=[\nOptimGroupOverride(params=["*norm*"], opts=dict(wd=0.0, weight_decay=0.0))])\n',
        {
            'OptimGroupOverride(params=["*norm*"], opts=dict(wd=0.0, weight_decay=0.0))])': (
                'OptimGroupOverride(params=["*norm*"], opts=dict(weight_decay=0.0))])'
            )
        },
    ),
    "axolotl-warm-up-twice": (
        "axolotl",
        ".yaml",
        "refused-value",
        "learning_rate: 2e-4\nwarmup_steps: 10\nwarmup_ratio: 0.1  # or so\nmax_steps: 1000\n",
        {"warmup_ratio: 0.1  # or so": None},
    ),
    "torchtune-moved": (
        "torchtune",
        ".yaml",
        "moved",
        f"optimizer:\n  lr: 2e-5\nlr_scheduler:\n  _component_: {OLD_COSINE}\n  num_warmup_steps: 100\n",
        {f"  _component_: {OLD_COSINE}": f"  _component_: {COSINE}"},
    ),
    "deepspeed-inert": (
        "deepspeed",
        ".json",
        "ignored-key",
        '{"optimizer": {"type": "AdamW", "params": {\n  "adam_w_mode": false,\n  "weight_decay": 0.1}}}\n',
        {'  "adam_w_mode": false,': None},
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_one_key_is_changed_and_the_fault_is_gone(case: str) -> None:
    """Lines that go are None; all others are as they were."""
    framework, suffix, code, text, lines = CASES[case]
    read = partial(audit, framework=framework, suffix=suffix)
    assert code in [each.code for each in read(text).findings]
    done = mended(text, read)
    expected = [lines.get(line, line) for line in text.splitlines()]
    assert done.text.splitlines() == [line for line in expected if line is not None]
    assert code not in [each.code for each in done.audit.findings]
    assert mended(done.text, read).changes == ()
