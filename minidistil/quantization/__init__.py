"""Checkpoints in int8 out of float32 ones: calibrated with texts, and with a report of what each product costs.

    from minidistil import quantize

The arithmetic is weights/quantizing.py's. Here are the texts, what they show of a model, and the files.
"""
