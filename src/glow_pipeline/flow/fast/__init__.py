"""The fast path: the map of the plain layers, computed in fewer operations.

passes           what `Level` and `Glow` call: chooses a form for each pass
kernels          a form: a level as one kernel of a GPU
products         a form: a training step on a GPU as matrix products
fused            a form: convolutions, with a backward pass of its own; on every device
folding          the parameters in the form that all three compute with
neighbours       3x3 neighbourhoods as rows of a matrix
execution        the options of a pass
cuda_graph       recording of work that is launched at once, for training
kernel_failures  the errors of a kernel that a machine cannot compile or start; needs Triton
"""
