"""The network's side: one question in, answers out, exit. It has no rights and no settings of its own."""
