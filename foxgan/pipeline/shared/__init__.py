"""The shared cache: finished artifacts in a folder or a bucket, for all machines that look there."""
