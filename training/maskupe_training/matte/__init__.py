"""Training the matting network (:mod:`maskupe.networks.matting`): scenes, drawn lines, the loop."""
