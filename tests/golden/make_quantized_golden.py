# SPDX-License-Identifier: MIT
"""Records what bitsandbytes makes of a matrix in 8 and 4 bits, into models/quantized.safetensors.

    python make_quantized_golden.py

Needs requirements-quantized.txt; runs on the CPU.
"""

from pathlib import Path

import bitsandbytes
import bitsandbytes.functional as bnb
import torch
from safetensors.torch import save_file

# More than 256 blocks of 64, the last one short; an odd number of elements; one block all zero.
ROWS, COLS = 131, 159

w = torch.randn(ROWS, COLS, generator=torch.Generator().manual_seed(5)) * 0.05
w = w * torch.linspace(0.2, 2, ROWS)[:, None]
w.view(-1)[640:704] = 0
w = w.half()

codes, state = bnb.quantize_nf4(w.float(), compress_statistics=True)
dense = bnb.dequantize_nf4(codes, state)
q, row_max, _ = bnb.int8_vectorwise_quant(w)

save_file(
    {
        "w": w,
        "int8.q": q,
        "int8.row_max": row_max,
        "nf4.codes": codes.view(-1),
        "nf4.scale_codes": state.absmax,
        "nf4.group_scale": state.state2.absmax,
        "nf4.mean": state.offset.view(1),
        "nf4.first_rows": dense[:8].clone(),
        "nf4.last_rows": dense[-3:].clone(),
    },
    Path(__file__).parent / "models" / "quantized.safetensors",
    {"bitsandbytes": bitsandbytes.__version__},
)
