"""Formatting of numbers, tasks and tables for people, shared by pages, model cards and reports."""
