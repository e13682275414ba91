# source: Amr-Hegazy1/nanoGPT config/train_gpt2.py @11ae52059922f0a77e3b5e583c29445bde8c33aa (defaults learning_rate 6e-4, warmup_iters 2000, min_lr 6e-5 in its train.py @007979c421ed1a4fbf009085a2aa15677950f4f9)
batch_size = 12
block_size = 1024
gradient_accumulation_steps = 5 * 8
max_iters = 2000
lr_decay_iters = 2000
weight_decay = 1e-1
