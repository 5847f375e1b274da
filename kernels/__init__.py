"""Compiled array functions: they know shapes, not models. Start at steps/run.py; layout.py says what lies where."""
