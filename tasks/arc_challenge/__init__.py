"""ARC in English."""
