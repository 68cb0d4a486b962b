"""The programs between a client and the engine that are compared, each set up by its own documents."""
