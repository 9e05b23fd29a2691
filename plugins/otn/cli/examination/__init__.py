"""What the doctor looks at: a module for each subject, a short function for each question."""

from otn.cli.examination.check import TITLES, Check, Level
from otn.cli.examination.examine import examine

__all__ = ["TITLES", "Check", "Level", "examine"]
