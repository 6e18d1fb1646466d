"""Data sets, mask generators, recipes, the trainer and the evaluation, from the command line."""
