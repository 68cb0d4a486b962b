"""A signed apt repository and an image registry, filled once from the package registries: see docs/mirror.md."""
