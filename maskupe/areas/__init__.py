"""From a selection to the areas A, B and C: transitions, distances, coverage."""
