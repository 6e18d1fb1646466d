"""Generic transformations that turn a global network g() into a mask-conditioned f()."""
