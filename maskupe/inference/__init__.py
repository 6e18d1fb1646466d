"""Running the low-resolution network: context and areas in, maps out.

Two engines do it: ONNX Runtime, which is small and fast on CPUs, and PyTorch for GPUs and for
weights without an exported graph. Neither is imported before a model is loaded.
"""

from maskupe.inference.loading import load_predictor
from maskupe.inference.predictor import Predictor

__all__ = ["Predictor", "load_predictor"]
