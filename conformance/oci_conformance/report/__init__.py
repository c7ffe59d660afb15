"""Reports: functions from a run, or several, to the text of a page or a file."""
