"""The page, the command line, and the services under both. Importing this package does nothing."""
