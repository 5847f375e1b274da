"""How the package's own model is made: `python -m benchmarks.own_model --data DIR --out DIR`.

A teacher, all-MiniLM-L6-v2 with a smaller vocabulary, learns to guess masked words of film reviews, and then their
sentiment. A student of three of its layers learns the latter from it. What is shipped is the student, in int8.
Made with `minidistil.training` and nothing else; the settings are in settings.py.
"""
