import numpy as np
from common import DOCUMENTS, LABELS, MODEL, SentenceTransformer, show
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_predict, cross_val_score
from sklearn.pipeline import make_pipeline


class Embedder(BaseEstimator, TransformerMixin):
    def __init__(self, model=None):
        self.model = model

    def fit(self, texts, labels=None):
        return self

    def transform(self, texts):
        return self.model.encode(list(texts)).astype(float)


pipeline = clone(make_pipeline(Embedder(SentenceTransformer(MODEL)), LogisticRegression(tol=1e-9)))
texts, labels = np.array(DOCUMENTS), np.array(LABELS)
scores = cross_val_score(pipeline, texts, labels, cv=2, n_jobs=2)
chances = cross_val_predict(pipeline, texts, labels, cv=2, method="predict_proba")
show(scores, chances)
