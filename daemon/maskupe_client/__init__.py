"""The daemon's client, for GIMP's Python: it needs the standard library and msgpack only.

The installer copies this package beside the plug-in.
"""
