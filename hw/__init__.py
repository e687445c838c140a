"""Specs of datapaths and machines, and their bit-exact value models."""
