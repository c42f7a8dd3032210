"""What is sent to TensorBoard and MLflow: read from the store, written once, live or for experiments of the past."""
