"""The node-local model cache: a verified, read-only copy of one pinned model revision on every worker."""
