"""Choose what computes the scores: which precision, with which library. It imports neither torch nor OpenVINO at first.

The one idea: `auto` takes what this machine is good at, and says why. What was chosen is part of the identity, so two
machines that chose differently never write to one store.
"""

from __future__ import annotations

import platform
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from foreshock.model.errors import ModelError
from foreshock.model.huggingface.folder import PREFIX, open_folder

Device = Literal["cpu", "cuda"]
Precision = Literal["int8", "float32", "bf16"]
Asked = Literal["auto", "int8", "float32", "bf16"]
"""What `[model] precision` can be."""
_CPUINFO = Path("/proc/cpuinfo")


@dataclass(frozen=True, slots=True)
class Choice:
    """What computes. `reason`: why not 8 bits on a CPU, where `auto` was asked for; a clause without a full stop."""

    device: Device
    precision: Precision
    library: Literal["openvino", "torch"]
    reason: str | None = None


def choose(
    device: Literal["auto", "cpu", "cuda"] = "auto",
    precision: Asked = "auto",
    *,
    cpuinfo: Path = _CPUINFO,
) -> Choice:
    """Choose for this machine. Raises ModelError where it cannot do what is asked for."""
    if device != "cpu" and _has_cuda():
        if precision == "int8":
            raise ModelError(
                '[model] precision "int8" is for CPUs, but the device is a GPU; choose precision = "float32", or '
                'device = "cpu"'
            )
        if precision == "bf16":
            import torch

            if not torch.cuda.is_bf16_supported(including_emulation=False):
                raise ModelError('[model] precision is "bf16", but this GPU cannot compute in it; choose "float32"')
            return Choice("cuda", "bf16", "torch")
        return Choice("cuda", "float32", "torch")
    if device == "cuda":
        raise ModelError("[model] device is `cuda`, but torch finds no CUDA device; choose `auto` or `cpu`")
    if precision == "bf16":
        raise ModelError(
            '[model] precision "bf16" is for GPUs, but the device is a CPU; choose "auto", "int8" or "float32"'
        )
    lacking = _why_no_openvino(cpuinfo)
    why = lacking
    if why is None and precision != "float32":
        from foreshock.model.engine import why_not_in_8_bits

        why = why_not_in_8_bits()
    if precision == "int8" and why is not None:
        raise ModelError(f'[model] precision is "int8", but {why}; choose precision = "auto" or "float32"')
    if lacking is not None:
        return Choice("cpu", "float32", "torch", lacking)
    return Choice("cpu", "float32" if precision == "float32" or why else "int8", "openvino", why)


def choose_for(weights: str, device: Literal["auto", "cpu", "cuda"], precision: Asked) -> Choice:
    """Choose for this machine and these weights, as `load_scorer` does. Raises ModelError as `choose`."""
    if not weights.startswith(PREFIX):
        return choose(device, precision)
    from foreshock.model.huggingface.scorer import choose_for_folder

    return choose_for_folder(open_folder(weights), device, precision)


def _has_cuda() -> bool:
    import ctypes

    for driver in ("libcuda.so.1", "libamdhip64.so"):
        try:
            ctypes.CDLL(driver)
        except OSError:
            continue
        import torch  # takes a second; without a driver it would find no device

        return torch.cuda.is_available()
    return False


def _why_no_openvino(cpuinfo: Path) -> str | None:
    """Return why OpenVINO cannot compute here; None where it can."""
    if platform.machine().lower() in ("x86_64", "amd64"):
        try:
            flags = next((line for line in cpuinfo.read_text().splitlines() if line.startswith("flags")), "")
        except OSError:  # not Linux
            flags = ""
        if flags and "avx2" not in flags.split():
            return "this processor has no AVX2, which the fast kernels need"
    try:
        import openvino  # noqa: F401
    except (ImportError, OSError) as error:
        return f"OpenVINO cannot be loaded ({error})"
    return None
