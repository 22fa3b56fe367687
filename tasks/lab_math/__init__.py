"""Word problems answered as GSM8K's are."""
