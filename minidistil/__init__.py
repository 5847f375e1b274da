"""DistilBERT and its family on the CPU: PyTorch's bits, without PyTorch.

    from minidistil import pipeline, AutoTokenizer, AutoModel, DistilBertForMaskedLM
    import minidistil; model = minidistil.load(path_or_id)

Everything here is loaded when it is first used: importing the package takes a few milliseconds.
"""

from __future__ import annotations

from minidistil._lazy import LazyNames
from minidistil.class_names import class_names, config_names, tokenizer_names

_names = LazyNames(
    __name__,
    {
        "_version": ("__version__",),
        "models.auto": (
            "AutoConfig",
            "AutoModel",
            "AutoModelForMaskedLM",
            "AutoModelForMultipleChoice",
            "AutoModelForQuestionAnswering",
            "AutoModelForSequenceClassification",
            "AutoModelForTokenClassification",
        ),
        "models.classes": [name for _, _, name in class_names()],
        "pipelines": ("Pipeline", "pipeline"),
        "pipelines.feature_extraction": ("FeatureExtractionPipeline",),
        "pipelines.fill_mask": ("FillMaskPipeline",),
        "pipelines.question_answering": ("QuestionAnsweringPipeline",),
        "pipelines.text_classification": ("TextClassificationPipeline",),
        "pipelines.token_classification": ("TokenClassificationPipeline",),
        "pipelines.zero_shot_classification": ("ZeroShotClassificationPipeline",),
        "quantization.quantize": ("quantize",),
        "sentences": (
            "CrossEncoder",
            "SentenceClassifier",
            "SentenceEncoder",
            "SentenceTransformer",
            "calibration_ranges",
            "encode_chunks",
            "encode_to_file",
            "load",
            "quantize_embeddings",
        ),
        "sentence_transformers.standing": ("stand_in",),
        "study.explanation": ("explain",),
        "study.tracing": ("trace",),
        "tokenization": ("AutoTokenizer", "BatchEncoding", "Tokenizer", "TruncationWarning"),
        "util": ("SimilarityFunction",),
        "weights": ("CheckpointError",),
        "weights.config": config_names(),
    },
    # A checkpoint's files say what its tokenizer is.
    aliases={**dict.fromkeys(tokenizer_names(), "Tokenizer"), "NerPipeline": "TokenClassificationPipeline"},
    modules=("arrow", "study", "training", "util"),
)
__all__ = _names.all
__dir__ = _names.dir
__getattr__ = _names.load
