"""What the recipes that start a service share; each has this folder, by a symbolic link, beside its tests."""
