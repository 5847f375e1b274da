from common import DOCUMENTS, MODEL, RERANKER, show
from langchain_community.cross_encoders import HuggingFaceCrossEncoder
from langchain_community.embeddings import HuggingFaceEmbeddings

embeddings = HuggingFaceEmbeddings(model_name=MODEL, cache_folder=None)
reranker = HuggingFaceCrossEncoder(model_name=RERANKER)
scores = reranker.score([("what to drink", text) for text in DOCUMENTS])
show(embeddings.embed_documents(DOCUMENTS), embeddings.embed_query("rain"), [float(score) for score in scores])
