"""Data sheets of the GPUs, and what of them is reached."""

from __future__ import annotations

from dataclasses import dataclass

MIB, GIB = 1024**2, 1024**3

# Shares of the data sheet's peak. Measured on an H100 (bench/results/gpu-h100.md): reading 92 % and copying 90 % of its
# bandwidth, prompts of 3019 tokens of text, 16 at a time, 55 % of its dense 16-bit arithmetic. Assumed for the other cards.
BANDWIDTH_SHARE = 0.9
ARITHMETIC_SHARE = 0.5


@dataclass(frozen=True, kw_only=True, slots=True)
class Gpu:
    """Peak figures of one card. `flops_8bit` is absent where FP8 is stored but computed with 16 bits."""

    memory_bytes: int
    bandwidth_bytes_per_second: float
    flops_16bit: float  # dense, with 32-bit accumulation
    flops_8bit: float | None = None

    @property
    def reached_bandwidth_bytes_per_second(self) -> float:
        return self.bandwidth_bytes_per_second * BANDWIDTH_SHARE

    def reached_flops(self, *, eight_bit: bool = False) -> float:
        return ((self.flops_8bit if eight_bit else None) or self.flops_16bit) * ARITHMETIC_SHARE


# Memory as nvidia-smi reports it; bandwidth and dense tensor throughput from NVIDIA's data sheets (Ada GPU architecture
# white paper for the 4090, A100, H100 SXM, H200 SXM and L40S data sheets). The 4090D is the 4090 with 114 of its 128 SMs.
GPUS: dict[str, Gpu] = {
    "rtx-4090d": Gpu(
        memory_bytes=24_564 * MIB, bandwidth_bytes_per_second=1.008e12, flops_16bit=147e12, flops_8bit=294e12
    ),
    "rtx-4090": Gpu(
        memory_bytes=24_564 * MIB, bandwidth_bytes_per_second=1.008e12, flops_16bit=165e12, flops_8bit=330e12
    ),
    "l40s": Gpu(memory_bytes=46_068 * MIB, bandwidth_bytes_per_second=0.864e12, flops_16bit=362e12, flops_8bit=733e12),
    "a100-80gb": Gpu(memory_bytes=81_920 * MIB, bandwidth_bytes_per_second=2.039e12, flops_16bit=312e12),
    "h100-80gb": Gpu(
        memory_bytes=81_559 * MIB, bandwidth_bytes_per_second=3.35e12, flops_16bit=989e12, flops_8bit=1979e12
    ),
    "h200": Gpu(memory_bytes=143_771 * MIB, bandwidth_bytes_per_second=4.8e12, flops_16bit=989e12, flops_8bit=1979e12),
}
