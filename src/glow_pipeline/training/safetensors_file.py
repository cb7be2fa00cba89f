"""Writing of safetensors files without a copy of their tensors in memory.

`safetensors.torch.save` makes two, and `save_file` gives files that others cannot read and no `OSError` of a full disk.
"""

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

ALIGNMENT = 8  # bytes of the header
DTYPES = {  # in the order of the library, which begins with the last
    torch.bool: "BOOL",
    torch.uint8: "U8",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int32: "I32",
    torch.float32: "F32",
    torch.float64: "F64",
    torch.int64: "I64",
}


def write_safetensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write the bytes that `safetensors.torch.save` returns.

    Args:
        path: path of the file.
        tensors: by name, contiguous and on the CPU.
        metadata: of the header.
    """
    order = list(DTYPES)
    names = sorted(tensors, key=lambda name: (-order.index(tensors[name].dtype), name))
    header: dict[str, object] = {"__metadata__": dict(metadata)}
    end = 0
    for name in names:
        tensor = tensors[name]
        start, end = end, end + tensor.nbytes
        header[name] = {"dtype": DTYPES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [start, end]}
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % ALIGNMENT)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name in names:
            if tensors[name].numel():  # torch cannot view an empty one as bytes
                file.write(tensors[name].reshape(-1).view(torch.uint8).numpy().data)
