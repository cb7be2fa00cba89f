"""The errors of a kernel that a machine cannot compile or start."""

from subprocess import CalledProcessError

from triton.errors import TritonError

# Where there is no C compiler or no cache folder; where a GPU is too old for this Triton, or has too little memory.
FAILURES = (OSError, RuntimeError, CalledProcessError, TritonError)
