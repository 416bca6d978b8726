"""`runner doctor`: what will fail, said before it does."""

from runner.services.doctor.diagnosis import Result, exit_code
from runner.services.doctor.examine import examine_machine, examine_spec

__all__ = ["Result", "examine_machine", "examine_spec", "exit_code"]
