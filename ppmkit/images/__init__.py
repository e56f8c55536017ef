"""Container images: build them once, ship them to hosts layer by layer."""
