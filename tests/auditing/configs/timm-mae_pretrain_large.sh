# source: facebookresearch/mae PRETRAIN.md @3d650dec62017ed79426bc0c0fe4a0418b77cef9 (first command; betas (0.9, 0.95) in main_pretrain.py)
python submitit_pretrain.py \
    --nodes 8 \
    --batch_size 64 \
    --model mae_vit_large_patch16 \
    --epochs 800 \
    --warmup_epochs 40 \
    --blr 1.5e-4 --weight_decay 0.05
