"""The report on trained models: evaluation, calibration, the choice of the vote, and its page."""

from typing import TYPE_CHECKING

from braintumor.front_door import lazy_getattr

if TYPE_CHECKING:
    from braintumor.training.report.page import write_report
    from braintumor.training.report.result import ModelEvaluation, Report, make_report
    from braintumor.training.report.vote import Vote, VoteChoice, choose_vote
    from braintumor.training.report.vote_calibration import calibrate_vote

__all__ = [
    "ModelEvaluation",
    "Report",
    "Vote",
    "VoteChoice",
    "calibrate_vote",
    "choose_vote",
    "make_report",
    "write_report",
]

__getattr__ = lazy_getattr(
    __name__,
    page=("write_report",),
    result=("ModelEvaluation", "Report", "make_report"),
    vote=("Vote", "VoteChoice", "choose_vote"),
    vote_calibration=("calibrate_vote",),
)
