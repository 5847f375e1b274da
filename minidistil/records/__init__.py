"""Records out of files: lines of text, CSV, JSON lines, Arrow and Parquet, and all that is wrong with them at once."""
