"""What one sees: a module per page, each with one function `show`."""
