# source: pyg-team/pytorch_geometric examples/gcn.py @0116e7f06d4be3fbaf2b6c1b40b237157a730bfb
parser.add_argument('--lr', type=float, default=0.01)
parser.add_argument('--epochs', type=int, default=200)
optimizer = torch.optim.Adam([
    dict(params=model.conv1.parameters(), weight_decay=5e-4),
    dict(params=model.conv2.parameters(), weight_decay=0)
], lr=args.lr)
