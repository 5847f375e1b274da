"""Making models: fine-tuning, masked language modelling and distilling, with the same bits in every run.

    from minidistil.training import distill, fine_tune, fit_classifier, train_masked_lm

Everything here is loaded when it is first used.
"""

from __future__ import annotations

from minidistil._lazy import LazyNames

_names = LazyNames(
    __name__,
    {
        "classifier": ("FrozenClassifier", "fit_classifier"),
        "curves": ("draw_curves",),
        "evaluation": ("Evaluation", "evaluate_labels"),
        "data": ("Data",),
        "examples": ("Examples", "make_examples"),
        "folder": ("RunFolder",),
        "one_run": ("Trained",),
        "runs": ("distill", "fine_tune", "train_masked_lm"),
        "settings": ("Settings",),
        "student": ("NewModel", "make_student", "new_head", "new_model"),
        "teacher": ("Teacher",),
        "trainer": ("Trainer", "TrainingError"),
        "vocabulary": ("CutReport", "cut_vocabulary"),
        "writing": ("write_checkpoint",),
    },
)
__all__ = _names.all
__dir__ = _names.dir
__getattr__ = _names.load
