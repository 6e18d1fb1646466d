"""The weights of MaskUPE's research models; MaskUPE finds them by the entry point of this package.

They may be used for research, not commercially. Each ``.safetensors`` file has its ``.onnx`` graph
and, in ``.md``, its card beside it, which says what it was trained on.
"""

from pathlib import Path

__version__ = "0.1.0"

#: The folder of the weight files.
FOLDER = Path(__file__).parent
