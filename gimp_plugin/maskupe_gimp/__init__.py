"""Puts the plug-in into every GIMP 3 on the machine, and says what is wrong when it is not seen."""
