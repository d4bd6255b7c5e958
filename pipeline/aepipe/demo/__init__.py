"""`aepipe demo`: the whole story, and the page that shows it."""
