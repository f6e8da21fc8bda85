"""An installation in an AWS account: its resources, made, checked and removed."""
