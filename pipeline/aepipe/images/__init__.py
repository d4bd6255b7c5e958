"""Reading images, whatever they are in, and what pixels mean."""
