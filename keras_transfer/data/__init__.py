"""Floor 1: what goes in. `resize` imports nothing but Pillow and NumPy."""

from ..core.lazy import attach

__getattr__, __dir__ = attach(
    __name__,
    {
        "RESIZES": ".resize",
        "UnreadablePicture": ".resize",
        "decode": ".resize",
        "load_picture": ".resize",
        "ImageData": ".images",
        "load_images": ".images",
        "Pictures": ".pictures",
        "TextData": ".text",
        "load_texts": ".text",
        "Texts": ".texts",
        "digits": ".samples",
        "scan_folder": ".scan",
        "ScanReport": ".scan_report",
        "class_weights": ".balance",
    },
)
