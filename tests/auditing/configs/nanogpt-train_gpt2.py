# source: KellerJordan/gpt-sandbox config/train_gpt2.py @be99f62165e14db323bc4a77a71084494769fdd4 (same values as karpathy/nanoGPT 3adf61e in reference/recipes.csv)
batch_size = 12
block_size = 1024
gradient_accumulation_steps = 5 * 8
max_iters = 600000
lr_decay_iters = 600000
weight_decay = 1e-1
