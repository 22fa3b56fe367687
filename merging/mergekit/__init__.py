"""Files of mergekit, read with mergekit's meaning and merged by our methods."""
