"""Where training samples come from: exposure brackets, pairs, photographs, and their manifests."""
