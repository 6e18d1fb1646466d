"""How the effect is blended in between C and A."""
