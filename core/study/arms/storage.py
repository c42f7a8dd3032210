"""Bytes to store when every customer gets a network of their own."""

from __future__ import annotations

from core.methods.method import Role
from core.study.arms.arm import Arm

FLOAT_BYTES = 4
"""Size of a float32."""


def bytes_for_customers(arm: Arm, customers: int) -> float:
    """Bytes that an arm's networks take for that many customers.

    Full fine-tuning and training from scratch store one checkpoint per customer. Adapters take one base and one adapter
    file per customer. Head only and biases only take one base and the trained values per customer, in float32.

    Args:
        arm: with results.
        customers: at least 1.

    Returns:
        Bytes; NaN where the arm has no result.
    """
    checkpoint = arm.interval("checkpoint_bytes").mean
    if arm.role is Role.ADAPTER:
        return checkpoint + customers * arm.interval("adapter_bytes").mean
    if arm.role is Role.CONTROL and arm.spec.method.starts_from_base:
        return checkpoint + customers * FLOAT_BYTES * arm.interval("trainable_parameters").mean
    return customers * checkpoint
