"""Measures models and baselines on the same cases: PSNR in A, the transition in B, C."""
