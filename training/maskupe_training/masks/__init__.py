"""Selections like those that people draw, for training and for evaluation."""
