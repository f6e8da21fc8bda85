"""Creates, checks and removes the resources of an installation in an AWS account."""
