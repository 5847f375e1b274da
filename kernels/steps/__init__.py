"""The pass as data: operations, each a file with its operands and its code, and `run`, which takes lists of them."""
