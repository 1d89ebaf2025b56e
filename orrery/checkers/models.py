"""The names of the models, apart from the judges so that the command line need not import them."""

MODELS = ("register", "cas-register", "kv", "list-append", "log", "watch", "lock", "lease")
