"""Kernels that compute all steps of a level at once, on a GPU, in Triton.

An image's pixels depend on each other, images do not. So one program of a kernel takes whole images through all K
steps: the state stays in its multiprocessor's cache, and the hidden layers in registers. The product form
(`fast/products`) computes the same map with about 20 launches a step, and copies of all hidden layers to memory.

Only `support` may be imported where there is no Triton.
"""
