"""A training step as matrix products in place of convolutions, for GPUs.

`level` computes the steps of a level, `between_levels` what is between them; `regions` are their parts that
torch.compile writes the kernels of, and `rows` the products that are weights' gradients.
"""
