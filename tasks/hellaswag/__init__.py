"""HellaSwag."""
