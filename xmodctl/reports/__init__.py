"""Reports: runs gathered into a study, and a study as a page, a table, or records; exported models with their cards."""
