"""The numbers and figures that explain the method."""
