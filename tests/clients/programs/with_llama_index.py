from common import DOCUMENTS, MODEL, show
from llama_index.core import Document, VectorStoreIndex
from llama_index.embeddings.huggingface import HuggingFaceEmbedding

embed = HuggingFaceEmbedding(model_name=MODEL, query_instruction="query: ", device="cpu")
index = VectorStoreIndex.from_documents([Document(text=text) for text in DOCUMENTS], embed_model=embed)
found = index.as_retriever(similarity_top_k=3).retrieve("what to drink")
show([[node.text, node.score] for node in found], embed.get_text_embedding_batch(DOCUMENTS))
