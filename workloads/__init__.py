"""Ordinary Triton scripts and seeded tensor generators; nothing here knows about a machine."""
