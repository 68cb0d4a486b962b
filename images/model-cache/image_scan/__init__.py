"""What Trivy found in the images: read from its reports, kept in a ConfigMap, shown to Prometheus."""
