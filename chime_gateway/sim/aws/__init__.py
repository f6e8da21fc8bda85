"""The services of AWS, as far as a gateway uses them."""
