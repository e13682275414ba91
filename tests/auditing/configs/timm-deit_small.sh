# source: facebookresearch/deit README_deit.md @4da66916c72caaeaeb5da788390244524fa993c6
python -m torch.distributed.launch --nproc_per_node=4 --use_env main.py --model deit_small_patch16_224 --batch-size 256
