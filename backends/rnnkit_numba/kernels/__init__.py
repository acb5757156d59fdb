"""Instruments of the kernels, which know no layer: pointers, vectors, tiles, products, activations, views."""
