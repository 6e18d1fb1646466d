"""The matte: which pixels near the drawn line belong to the subject."""
