"""What is reached over HTTP: the receiver for the platform, the console for operators."""
