"""What the networks see: context and region averaged down to their input size."""
