"""Fold the parameters of a level's steps into the form that the fast path computes with.

Actnorm and permutation become one matrix; the actnorms and scales inside a coupling network become part of its
convolutions (`folded`). Products and kernels take these convolutions as factors of matrix products (`factors`).

There are two ways to the same folded form:

    prepared  from the layers: for `fused`, and for passes without gradients, which can share it
    compiled  for a training step on a GPU, in few operations: the parameters are a view of the optimizer's vector
              (`level_matrix`), the matrices of all steps are computed together (`permutations`), and the rest is one
              compiled region
"""
