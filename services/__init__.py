"""One folder a deployable service. A service never imports another one, it calls it."""
