"""Images of a line, judged by the normalities that hold now: each gets exactly one row."""
