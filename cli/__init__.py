"""Typer commands: parse, call one flow or one query, print. Decides nothing."""
