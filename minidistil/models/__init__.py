"""A class for each family and task: a checkpoint's encoder and head, called with arrays."""
