# source: huggingface/transformers examples/flax/language-modeling/README.md (PyTorch 8-GPU comparison command) @0046eddcd3c29f457a03185194ca7a883fe02739
export NUM_GPUS=8
python3 -m torch.distributed.launch --nproc_per_node ${NUM_GPUS} run_mlm.py \
    --max_seq_length="128" \
    --weight_decay="0.01" \
    --per_device_train_batch_size="32" \
    --gradient_accumulation="4" \
    --learning_rate="3e-4" \
    --warmup_steps="1000" \
    --num_train_epochs="18" \
    --adam_beta1="0.9" \
    --adam_beta2="0.98"
