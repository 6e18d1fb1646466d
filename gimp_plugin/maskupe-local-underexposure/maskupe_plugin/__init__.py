"""What GIMP runs: stdlib and gi only, beside the vendored client of the daemon."""
