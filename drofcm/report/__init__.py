"""The report: one self-contained HTML page from labelled results and layers."""
