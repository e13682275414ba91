# source: allenai/OLMo-core src/scripts/official/OLMo2/OLMo-2-0325-32B-train.py @138b1fca4992c704f320c05718ef8168ffb44ea1
DEFAULT_SEQUENCE_LENGTH = 4096


def build_config(opts, overrides):
    data_loader_config = NumpyDataLoaderConfig(global_batch_size=2048 * 4096)
    train_module_config = TransformerTrainModuleConfig(
        rank_microbatch_size=4 * 4096,
        optim=SkipStepAdamWConfig(
            lr=6e-4,
            weight_decay=0.1,
            betas=(0.9, 0.95),
            group_overrides=[
                OptimGroupOverride(params=["embeddings.weight"], opts={"weight_decay": 0.0})
            ],
        ),
        scheduler=CosWithWarmup(warmup_steps=2000),
        max_grad_norm=1.0,
    )
    trainer_config = TrainerConfig(max_duration=Duration.tokens(int(6.5e12)))
