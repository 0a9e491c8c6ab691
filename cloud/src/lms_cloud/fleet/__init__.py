"""Bioreactors, agents and tags: what is watched, by whom, and what is measured."""
