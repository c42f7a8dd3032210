"""Bytes to store when every customer gets a network of their own."""

from __future__ import annotations

from core.study.arms.arm import Arm

FLOAT_BYTES = 4
"""Of a float32."""


def bytes_for_customers(arm: Arm, customers: int) -> float:
    """What an arm's networks take for that many customers.

    Full fine-tuning and training from scratch keep a checkpoint a customer. LoRA keeps one base, and an adapter a
    customer. What trains only the head or the biases keeps one base, and the trained values a customer, in float32.

    Args:
        arm: with results.
        customers: at least 1.

    Returns:
        Bytes; NaN where the arm has no result.
    """
    checkpoint = arm.interval("checkpoint_bytes").mean
    if arm.method == "lora":
        return checkpoint + customers * arm.interval("adapter_bytes").mean
    if arm.spec.control in ("head", "biases"):
        return checkpoint + customers * FLOAT_BYTES * arm.interval("trainable_parameters").mean
    return customers * checkpoint
