from common import DOCUMENTS, MODEL, show
from keybert import KeyBERT

keywords = KeyBERT(model=MODEL).extract_keywords(DOCUMENTS, keyphrase_ngram_range=(1, 2), top_n=4)
diverse = KeyBERT(model=MODEL).extract_keywords(DOCUMENTS[0], use_mmr=True, diversity=0.6)
show(keywords, diverse)
