"""The prediction log, reference profiles, windows, the alarm, the report. Never moves traffic."""
