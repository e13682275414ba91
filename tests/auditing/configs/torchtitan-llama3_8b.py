# source: wheel torchtitan 0.3.0: torchtitan/models/llama3/config_registry.py llama3_8b; components/optimizer/optimizer.py default_adamw; components/optimizer/lr_scheduler.py defaults
def llama3_8b():
    return Trainer.Config(
        optimizer=default_adamw(lr=3e-4),
        training=TrainingConfig(
            local_batch_size=1,
            seq_len=8192,
            steps=1000,
        ),
    )
