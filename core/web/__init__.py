"""The web layer in front of the pages: access control, limits, security headers, and downloads."""
