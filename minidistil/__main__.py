"""`python -m minidistil`: the command line."""

from minidistil.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
