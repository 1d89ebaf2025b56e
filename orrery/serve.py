"""`orrery serve`: one process of a service in the foreground. What a container runs, and what `orrery up` starts.

Imports nothing of the command: what is loaded here stays in memory in every process of the cluster.
"""
