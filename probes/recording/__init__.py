"""From tensors on a device to rows of the log, without ever stopping the training that made them."""
