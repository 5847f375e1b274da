from common import DOCUMENTS, MODEL, show
from txtai import Embeddings

embeddings = Embeddings(path=MODEL, method="sentence-transformers", backend="numpy", content=True)
embeddings.index(DOCUMENTS)
found = embeddings.search("what to drink", 3)
show([[row["text"], row["score"]] for row in found], embeddings.batchtransform(DOCUMENTS))
