"""Majorities, simple and joint: pure functions of who said what."""
