"""Records, their store, and the metrics over them. Works without torch."""
