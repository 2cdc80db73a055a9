"""The sections of the study file, as pydantic models with the rules between their keys."""
