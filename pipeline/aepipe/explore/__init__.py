"""`aepipe explore`: a bundle as one HTML page, in which a browser runs its graphs."""
