"""Triton's view of the virtual GPU: a compiler entry and a driver, found by the `triton.backends` entry point.

Triton imports this at its own start-up, so nothing heavy may be imported here.
"""
