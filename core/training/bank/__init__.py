"""Perceptrons trained together in lockstep, by closed-form gradients."""
