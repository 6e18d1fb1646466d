"""Scripts of the project's own."""
