"""The front door: commands, runs, dots, reports, timelines and benchmarks. Only this room knows all the others."""
