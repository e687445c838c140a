"""The functional SASS machine: lower a Program to micro-ops, run them 32 lanes at a time."""
