"""Running the low-resolution network: context and mask in, maps out."""
