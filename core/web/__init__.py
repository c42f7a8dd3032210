"""What stands between the network and the pages: who may come in, limits, headers, and files to download."""
