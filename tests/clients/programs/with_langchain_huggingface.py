from common import DOCUMENTS, MODEL, show
from langchain_core.vectorstores import InMemoryVectorStore
from langchain_huggingface import HuggingFaceEmbeddings

embeddings = HuggingFaceEmbeddings(
    model_name=MODEL, model_kwargs={"device": "cpu"}, encode_kwargs={"normalize_embeddings": True}
)
store = InMemoryVectorStore.from_texts(DOCUMENTS, embeddings)
found = store.similarity_search_with_score("what to drink", k=3)
show([[document.page_content, score] for document, score in found], embeddings.embed_query("rain"))
