# source: wheel megatron_bridge 0.3.1: megatron/bridge/recipes/moonlight/moonlight_16b.py moonlight_16b_sft_config + recipes/common.py _sft_common
from megatron.bridge.recipes.utils.optimizer_utils import distributed_fused_adam_with_cosine_annealing


def _sft_common():
    opt_cfg, scheduler_cfg = distributed_fused_adam_with_cosine_annealing(
        lr_warmup_iters=50,
        lr_decay_iters=None,
        max_lr=5e-6,
        min_lr=0.0,
        adam_beta2=0.98,
    )
    return ConfigContainer(
        train=TrainingConfig(train_iters=1000, global_batch_size=128, micro_batch_size=1),
        optimizer=opt_cfg,
        scheduler=scheduler_cfg,
    )


def moonlight_16b_sft_config():
    cfg = _sft_common()
    seq_length = 4096
    cfg.model.seq_length = seq_length
    cfg.dataset.seq_length = seq_length
    cfg.optimizer.adam_eps = 1e-5
    cfg.optimizer.weight_decay = 0.1
    cfg.scheduler.lr_warmup_iters = 50
    cfg.scheduler.lr_decay_iters = 1000
    cfg.scheduler.min_lr = 0.0
    return cfg
