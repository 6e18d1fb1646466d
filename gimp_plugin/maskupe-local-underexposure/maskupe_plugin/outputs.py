"""Names of the places where a result can go."""

THIS_LAYER = "this-layer"
NEW_LAYER = "new-layer"
MASKED_LAYER = "new-layer-with-mask"
ILLUMINATION = "illumination-layer"
