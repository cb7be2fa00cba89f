import sys

from tests.project import ROOT

sys.path.append(str(ROOT / "benchmarks"))  # where benchmarks import each other
