"""The daemon that enhances layers for GIMP and other programs."""
