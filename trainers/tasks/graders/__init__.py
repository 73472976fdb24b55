"""From a response and a gold answer to a verdict, for math: two graders, and the process the first one runs in."""
