"""The public names of minidistil.training, made by `python -m tests.project.make_stubs`."""

from minidistil.training.classifier import FrozenClassifier as FrozenClassifier
from minidistil.training.classifier import fit_classifier as fit_classifier
from minidistil.training.curves import draw_curves as draw_curves
from minidistil.training.data import Data as Data
from minidistil.training.evaluation import Evaluation as Evaluation
from minidistil.training.evaluation import evaluate_labels as evaluate_labels
from minidistil.training.examples import Examples as Examples
from minidistil.training.examples import make_examples as make_examples
from minidistil.training.folder import RunFolder as RunFolder
from minidistil.training.one_run import Trained as Trained
from minidistil.training.runs import distill as distill
from minidistil.training.runs import fine_tune as fine_tune
from minidistil.training.runs import train_masked_lm as train_masked_lm
from minidistil.training.settings import Settings as Settings
from minidistil.training.student import NewModel as NewModel
from minidistil.training.student import make_student as make_student
from minidistil.training.student import new_head as new_head
from minidistil.training.student import new_model as new_model
from minidistil.training.teacher import Teacher as Teacher
from minidistil.training.trainer import Trainer as Trainer
from minidistil.training.trainer import TrainingError as TrainingError
from minidistil.training.vocabulary import CutReport as CutReport
from minidistil.training.vocabulary import cut_vocabulary as cut_vocabulary
from minidistil.training.writing import write_checkpoint as write_checkpoint
