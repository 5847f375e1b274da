import chromadb
from chromadb.config import Settings
from chromadb.utils.embedding_functions import SentenceTransformerEmbeddingFunction
from common import DOCUMENTS, MODEL, show

embed = SentenceTransformerEmbeddingFunction(MODEL, normalize_embeddings=True)
client = chromadb.EphemeralClient(Settings(anonymized_telemetry=False))
collection = client.create_collection("documents", embedding_function=embed)
collection.add(documents=DOCUMENTS, ids=[str(i) for i in range(len(DOCUMENTS))])
found = collection.query(query_texts=["what to drink", "cold weather"], n_results=3)
show(found["ids"], found["distances"], embed(DOCUMENTS))
