from bertopic import BERTopic
from common import DOCUMENTS, MODEL, SentenceTransformer, show
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA

topics = BERTopic(
    embedding_model=SentenceTransformer(MODEL),
    umap_model=PCA(3, svd_solver="full"),
    hdbscan_model=KMeans(3, n_init=4, random_state=0),
)
found, _ = topics.fit_transform(DOCUMENTS * 3)
near, scores = topics.find_topics("food and drink", top_n=2)
show([int(topic) for topic in found], [int(topic) for topic in near], scores, topics.topic_embeddings_)
