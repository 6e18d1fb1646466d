"""Brings the published data sets into the layouts that the trainer reads, each with a manifest."""
