"""Names of the places where a result can go."""

THIS_LAYER = "this-layer"
NEW_LAYER = "new-layer"
MASKED_LAYER = "new-layer-with-mask"
ILLUMINATION = "illumination-layer"

#: Those that leave the layer itself as it is; the first is taken where that one cannot be changed.
ABOVE = (NEW_LAYER, MASKED_LAYER, ILLUMINATION)
