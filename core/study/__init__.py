"""What finished runs say, in numbers and figures."""
