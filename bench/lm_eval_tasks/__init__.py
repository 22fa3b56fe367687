"""Any task that lm-eval has, or a user's folder in its format, as a benchmark."""
