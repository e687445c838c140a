"""The issue stage of a GPU's sub-core as hardware, from the core model's spec and equal to it in every cycle."""

from rtl.issue_stage.design import IssueDesign
from rtl.issue_stage.stage import IssueStage

__all__ = ["IssueDesign", "IssueStage"]
