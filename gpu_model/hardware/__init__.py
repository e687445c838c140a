"""Measured facts of real GPUs: data files (`*.csv`), and the script that makes them on a machine with a GPU."""
