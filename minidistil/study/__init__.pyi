"""The public names of minidistil.study, made by `python -m tests.project.make_stubs`."""

from minidistil.study.explanation import Explanation as Explanation
from minidistil.study.explanation import explain as explain
from minidistil.study.numbers import origin as origin
from minidistil.study.tracing import Trace as Trace
from minidistil.study.tracing import trace as trace
