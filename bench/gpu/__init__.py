"""The product's engine on a real card: started as the product starts it, asked, and compared with components/capacity."""
