"""The electrical network: radial feeders, linear power flow, screening of rows and energisation."""
