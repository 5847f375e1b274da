"""The public names of minidistil.sentences, made by `python -m tests.project.make_stubs`."""

from minidistil.sentences.classifier import SentenceClassifier as SentenceClassifier
from minidistil.sentences.comparison import similarity as similarity
from minidistil.sentences.comparison import similarity_pairwise as similarity_pairwise
from minidistil.sentences.cross_encoder import CrossEncoder as CrossEncoder
from minidistil.sentences.encoder import SentenceEncoder as SentenceEncoder
from minidistil.sentences.loading import load as load
from minidistil.sentences.pooling import normalize as normalize
from minidistil.sentences.pooling import pool as pool
from minidistil.sentences.quantization import calibration_ranges as calibration_ranges
from minidistil.sentences.quantization import quantize_embeddings as quantize_embeddings
from minidistil.sentences.sentence_transformer import SentenceTransformer as SentenceTransformer
from minidistil.sentences.streaming import Written as Written
from minidistil.sentences.streaming import encode_chunks as encode_chunks
from minidistil.sentences.streaming import encode_to_file as encode_to_file
