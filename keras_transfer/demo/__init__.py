"""Floor 4: the embedded demo."""
