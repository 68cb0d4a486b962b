"""A lab of bare Linux nodes: LXC system containers reached over SSH, like the servers the product is meant for."""
