"""Errors, files, parameters, the command line, plot style. Imports no other room."""
