"""Accel-Sim text traces: written from launches that ran here, and read to be timed (docs/accel-sim.md)."""
