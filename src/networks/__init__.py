"""The networks: VGG of table 1, initialisation, transfer, and the model file."""
