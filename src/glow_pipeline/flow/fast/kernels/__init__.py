"""Kernels that compute all steps of a level at once, on a GPU, in Triton.

An image's pixels depend on each other, images do not. So one program of a kernel takes whole images through all K
steps: the state stays in its multiprocessor's cache, and the hidden layers in registers. The product form
(`fast/products`) trains the same map with about 24 launches for each step of flow (docs/results/gpu.md: 931 for K=8,
2,646 for K=32, at three levels), and copies of all hidden layers to memory.

support           which levels have kernels, and whether they pass their `trial` on a GPU; needs no Triton
level             passes without gradients, by `forward` and `inverse`
training          a training step, by `forward`, `backward` (gradients of activations) and `weight_gradients`
tile              the pixels of a program and the sizes of its blocks; `backward_sizes` those of the backward pass
network           the coupling network in a kernel; `gradients` has blocks of the backward kernels
matrix_inverses   inverses and determinants of the 1x1 convolutions of a training step, for products, too
"""
