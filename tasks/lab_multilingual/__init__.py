"""Translation into three made-up languages."""
