"""Clients of our own services, for other services and for programs: a service never imports another, it calls it."""
