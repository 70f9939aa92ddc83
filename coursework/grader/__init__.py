"""The grader: read a submission, run it confined, judge it, report."""
