"""Floor 3: what goes out. `litert` runs a `.tflite` with NumPy and ai_edge_litert, without TensorFlow or Keras."""

from ..core.lazy import attach

_NAMES = {
    "inference_model": ".inference",
    "export_tflite": ".tflite",
    "certify": ".parity",
    "serving_model": ".serving",
    "export_saved_model": ".serving",
    "Certificate": ".certificate",
    "CertificateError": ".certificate",
    "compress_to": ".compress",
    "Ladder": ".ladder",
    "CompressionError": ".ladder",
    "latency": ".timing",
    "LiteRTModel": ".litert",
    "read_io": ".io_json",
}
__all__ = [*_NAMES]
__getattr__, __dir__ = attach(__name__, _NAMES)
