# source: tatsu-lab/stanford_alpaca README.md @7f0853214d2d4cd732d6f33622566a10e317a903
torchrun --nproc_per_node=4 train.py \
    --num_train_epochs 3 \
    --per_device_train_batch_size 4 \
    --gradient_accumulation_steps 8 \
    --learning_rate 2e-5 \
    --weight_decay 0. \
    --warmup_ratio 0.03 \
    --lr_scheduler_type "cosine"
