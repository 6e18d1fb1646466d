"""Global enhancement networks g(): image in, enhanced image and maps out."""
