"""The report on scored files: one HTML file that can be sent, and a contact sheet."""

from glow_pipeline.verdict.report.report import Report

__all__ = ["Report"]
