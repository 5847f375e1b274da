from common import DOCUMENTS, LABELS, MODEL, SentenceTransformer, show
from setfit import SetFitModel
from sklearn.linear_model import LogisticRegression

body = SentenceTransformer(MODEL)
head = LogisticRegression().fit(body.encode(DOCUMENTS).astype(float), LABELS)
model = SetFitModel(model_body=body, model_head=head, labels=["drink", "weather", "music"])
texts = ["A cup of tea, please.", "Snow fell all night.", "They danced to the drums."]
show(model.predict(texts), model.predict(texts[0]), model.predict_proba(texts, as_numpy=True), model.encode(texts))
