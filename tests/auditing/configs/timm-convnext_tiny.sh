# source: facebookresearch/ConvNeXt TRAINING.md @231af90923635a219a1d1ed428485e3a6f8631b1 (defaults in main.py @2313ff8e1da74d12f648426c7e7f3fd6e3278e15: weight_decay 0.05, epochs 300, warmup_epochs 20, min_lr 1e-6, opt adamw, opt_eps 1e-8)
python -m torch.distributed.launch --nproc_per_node=8 main.py \
--model convnext_tiny \
--batch_size 128 --lr 4e-3 --update_freq 4
