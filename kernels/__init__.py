"""Compiled array functions: they know shapes, not models. Start at entries.py; layout.py says what lies where."""
