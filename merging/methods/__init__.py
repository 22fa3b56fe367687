"""The merge methods, one file each; every module here is imported when methods are looked up."""
