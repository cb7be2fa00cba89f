"""The defaults of GenerativeZoo's Glow, as its table has them (https://github.com/caetas/GenerativeZoo, docs/Glow.md).

What else that table has is a command or no parameter.
"""

SEED_DEFAULTS = {
    "train.batch_size": 128,
    "train.n_epochs": 100,
    "train.lr": 2e-4,
    "train.warmup": 10,
    "train.decay": 0,
    "train.max_grad_clip": 0,
    "train.max_grad_norm": 0,
    "train.num_workers": 0,
    "train.sample_and_save_freq": 5,
    "train.checkpoint": None,
    "model.hidden_channels": 64,
    "model.K": 8,
    "model.L": 3,
    "model.actnorm_scale": 1.0,
    "model.flow_permutation": "invconv",
    "model.flow_coupling": "affine",
    "model.LU_decomposed": False,
    "model.learn_top": False,
    "model.y_condition": False,
    "model.y_weight": 0.01,
}
