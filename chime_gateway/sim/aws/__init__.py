"""The services of AWS, as far as a gateway can tell."""
