import datasets
import mteb
from common import DOCUMENTS, MODEL, SentenceTransformer, show
from mteb.abstasks import AbsTaskSTS
from mteb.abstasks.task_metadata import TaskMetadata


class Neighbours(AbsTaskSTS):
    min_score, max_score = 0, 1
    metadata = TaskMetadata(
        name="Neighbours",
        description="Sentences beside each other, and how alike a person found them.",
        dataset={"path": "local", "revision": "1"},
        type="STS",
        category="t2t",
        eval_splits=["test"],
        eval_langs=["eng-Latn"],
        main_score="cosine_spearman",
    )

    def load_data(self, **_):
        pairs = list(zip(DOCUMENTS, DOCUMENTS[1:] + DOCUMENTS[:1]))
        rows = [{"sentence1": a, "sentence2": b, "score": i % 5 / 5} for i, (a, b) in enumerate(pairs)]
        self.dataset = {"test": datasets.Dataset.from_list(rows)}
        self.data_loaded = True


result = mteb.evaluate(
    SentenceTransformer(MODEL),
    [Neighbours()],
    cache=None,
    co2_tracker=False,
    encode_kwargs={"show_progress_bar": False},
)
scores = result[0].scores["test"][0]
show({name: scores[name] for name in ("cosine_spearman", "cosine_pearson", "euclidean_pearson", "manhattan_pearson")})
