"""What is measured of parametrisations: coordinates over width, scales of tensors, FP8, transfer of rates."""
