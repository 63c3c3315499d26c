"""What several test packages need: a real S3 server and a proxy that breaks it."""
