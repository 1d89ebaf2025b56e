"""The real kv service, three members of it, in a simulated world. A scenario = cluster + workload + faults + judges."""
