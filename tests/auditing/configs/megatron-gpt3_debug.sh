# source: NVIDIA/Megatron-LM (repository network, a fork commit) examples/gpt3/train_gpt3_175b_distributed.sh @4b36c6c4c22072273369457bacae1a7778a5da85
GPUS_PER_NODE=8
NUM_NODES=1
GPT_MODEL_ARGS=(
    --seq-length 512
)
TRAINING_ARGS=(
    --micro-batch-size 1
    --global-batch-size 64
    --train-iters 10
    --weight-decay 0.1
    --adam-beta1 0.9
    --adam-beta2 0.95
    --clip-grad 1.0
    --lr 6.0e-5
    --lr-decay-style cosine
    --min-lr 6.0e-6
    --lr-warmup-fraction .001
    --lr-decay-iters 430000
)
MODEL_PARALLEL_ARGS=(
    --tensor-model-parallel-size 2
    --pipeline-model-parallel-size 2
)
torchrun --nproc_per_node $GPUS_PER_NODE --nnodes $NUM_NODES pretrain_gpt.py \
    ${GPT_MODEL_ARGS[@]} \
    ${TRAINING_ARGS[@]} \
    ${MODEL_PARALLEL_ARGS[@]}
