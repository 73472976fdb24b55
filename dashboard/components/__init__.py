"""What pages are made of: the frame and its refresh, figures, charts that move in place, coloured tokens."""
