"""What the programs share: texts, the model's folder, and how they show what they found."""

import json
import sys

WAY, MODEL, RERANKER = sys.argv[1:]  # how minidistil comes in, and two folders
DOCUMENTS = [
    "Red wine is made of dark grapes, and white wine mostly of pale ones.",
    "Beer is brewed from barley, hops, water and yeast.",
    "Fresh bread and old cheese are eaten with a glass of wine.",
    "In winter the river freezes, and snow covers the hills.",
    "Heavy rain and wind are expected in the north tomorrow.",
    "The summer was dry and hot, with weeks without a cloud.",
    "She plays the violin in an orchestra and teaches children music.",
    "The band recorded a new album of quiet songs for piano.",
    "A choir of forty people sang in the old church.",
    "Coffee is drunk hot, and with milk by many.",
    "Fog lay over the harbour until noon.",
    "He tuned his guitar before the concert began.",
]
LABELS = [0, 0, 0, 1, 1, 1, 2, 2, 2, 0, 1, 2]


if WAY == "object":
    from minidistil import SentenceTransformer
else:
    from sentence_transformers import SentenceTransformer


def show(*found):
    """Print what was found as JSON, and whose model it was found with."""
    whose = SentenceTransformer.__module__.partition(".")[0]
    print(json.dumps({"whose": whose, "found": found}, default=lambda value: value.tolist()))
