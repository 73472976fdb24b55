"""How do runs in a bucket get here? A copy in a cache folder, brought up to date whenever it is opened."""
