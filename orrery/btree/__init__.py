"""`orrery btree`: looks into the files of the B+tree engine."""
