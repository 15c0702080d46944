"""bf16 matrix products where the hardware has them: two to three times the fp32 rate on AVX512-BF16 and AMX, more on CUDA.

Cards before Ampere (Volta, Turing) have none: torch would emulate them, slowly.
"""

from contextlib import AbstractContextManager, nullcontext

import torch


def has_bf16_products(device: torch.device) -> bool:
    """Whether bf16 products run in hardware; False where torch cannot say."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type == "cpu" and hasattr(torch.cpu, "get_capabilities"):
        capabilities = torch.cpu.get_capabilities()
        return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))
    return False


def fast_products(device: torch.device) -> AbstractContextManager[object]:
    """Autocast to bf16 where that is faster; nothing elsewhere."""
    return torch.autocast(device.type, torch.bfloat16) if has_bf16_products(device) else nullcontext()
