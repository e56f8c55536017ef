"""Container images: built once, shipped to hosts layer by layer."""
