"""The Prefect flows, what runs around them, and the commands of the pipeline."""
