"""The full-size stage: maps and areas in, enhanced pixels out."""
