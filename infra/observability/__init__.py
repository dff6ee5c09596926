"""What Sluice lets others see of its work: traces by OpenTelemetry, logs as JSON.

Off unless a workspace or the environment asks for it; then nothing here is imported but the look at
the settings.
"""
