"""An installation in an AWS account: what belongs to it, made and checked."""
