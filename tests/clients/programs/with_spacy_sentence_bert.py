import spacy
from common import DOCUMENTS, MODEL, show

nlp = spacy.blank("en")
nlp.add_pipe("sentencizer")
nlp.add_pipe("sentence_bert", config={"model_name": MODEL})
documents = list(nlp.pipe(DOCUMENTS))
show([document.vector for document in documents], [documents[0].similarity(other) for other in documents])
