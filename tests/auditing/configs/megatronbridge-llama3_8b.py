# source: wheel megatron_bridge 0.3.1: megatron/bridge/recipes/llama/llama3.py llama3_8b_pretrain_config + recipes/common.py _pretrain_common (commit not in wheel)
from megatron.bridge.recipes.utils.optimizer_utils import distributed_fused_adam_with_cosine_annealing


def _pretrain_common():
    opt_cfg, scheduler_cfg = distributed_fused_adam_with_cosine_annealing(
        lr_warmup_iters=500,
        lr_decay_iters=None,
        max_lr=3e-4,
        min_lr=3e-5,
    )
    return ConfigContainer(optimizer=opt_cfg, scheduler=scheduler_cfg)


def llama3_8b_pretrain_config():
    cfg = _pretrain_common()
    cfg.dataset.seq_length = 8192
    cfg.model.seq_length = 8192
    cfg.train.train_iters = 1168251
    cfg.train.global_batch_size = 512
    cfg.train.micro_batch_size = 1
    cfg.scheduler.lr_warmup_iters = 2000
    return cfg
