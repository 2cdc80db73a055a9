"""The two-stage modelling language: `Stage` and `TwoStageProgram`."""
