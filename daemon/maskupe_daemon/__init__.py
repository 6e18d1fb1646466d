"""The daemon that enhances layers for GIMP and other programs, and the client that speaks to it."""
