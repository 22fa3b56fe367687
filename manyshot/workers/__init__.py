"""Jobs done by several workers: actors of Ray, each with an engine of its own."""
